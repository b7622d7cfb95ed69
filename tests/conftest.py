"""Settings and models that every test file shares."""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.skips import pytest_sessionfinish as pytest_sessionfinish
from tests.skips import pytest_unconfigure as pytest_unconfigure

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from export.checkpoint.checkpoint import Checkpoint
    from omnilmm_lite.model import Model
    from tests.serve.browser import Watch

settings.register_profile("omnilmm", deadline=None)  # the machine may be busy: no example fails for being slow
settings.load_profile("omnilmm")

PRIVILEGE_NOT_HELD = 1314  # Windows' error where a user may make no links


# Files and a folder that begin first: a minute or more each, which one core would work on alone at the end.
LONGEST = ("test_full_width.py", "test_other_systems.py", "processors", "test_readme.py")


def pytest_configure(config: pytest.Config) -> None:
    """No test, nor what it starts, sees the settings and models of whoever runs it.

    A worker and all that it starts keep to one core: engines that take two threads each, and spin while they wait,
    would share two cores among four."""
    for name in [name for name in os.environ if name.startswith("OMNILMM_") and name != "OMNILMM_TEST_AS"]:
        del os.environ[name]
    os.environ["OMNILMM_HOME"] = str(Path(tempfile.gettempdir(), f"omnilmm-no-home-{os.getpid()}"))  # isn't made
    worker: dict[str, str] | None = getattr(config, "workerinput", None)
    if sys.platform == "linux" and worker is not None:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker["workerid"].removeprefix("gw")) % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        names = (item.path.name, item.path.parent.name)
        return next((place for place, name in enumerate(LONGEST) if name in names), len(LONGEST))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """A test that makes links is skipped where that isn't allowed."""
    try:
        return (yield)
    except OSError as error:
        if getattr(error, "winerror", None) == PRIVILEGE_NOT_HELD:
            pytest.skip("Windows lets this user make no links")
        raise


# Fixtures import what they need: most test files need no torch.


class Quiet:
    """Progress that nobody watches."""

    def stage(self, name: str, steps: int) -> None: ...

    def step(self, line: str) -> None: ...


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Random weights of the size TINY; to be read only."""
    from export.checkpoint.checkpoint import Checkpoint
    from tests.small_checkpoint import TINY, write_checkpoint

    return Checkpoint.open(write_checkpoint(tmp_path_factory.mktemp("checkpoint"), size=TINY))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_checkpoint` converted with the preset reference; to be read only."""
    from export.convert import write_bundle
    from export.graphs.decoder import CheckpointWeights
    from omnilmm_lite.bundle.presets import find_preset

    out = tmp_path_factory.mktemp("bundles") / "tiny-reference"
    write_bundle(tiny_checkpoint, CheckpointWeights(tiny_checkpoint), find_preset("reference"), out, Quiet())
    return out


@pytest.fixture(scope="session")
def loaded_model(tiny_bundle: Path) -> Model:
    from omnilmm_lite.model import load

    return load(tiny_bundle, threads=1)


@pytest.fixture
def model(loaded_model: Model) -> Model:
    """`tiny_bundle`, loaded: with an empty KV cache, and attributes that a test may replace."""
    loaded_model.text.decoder.clear()
    return copy.copy(loaded_model)


# ---- the page in a browser; a test file says with `address` which server it looks at ----


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from tests.serve.browser import chromium

    with chromium() as browser:
        yield browser


@pytest.fixture
def profile(browser: Browser, address: str) -> Iterator[tuple[BrowserContext, Watch]]:
    """A fresh profile, and the watch over it, which the test fails by in its end."""
    from tests.serve.browser import watched

    with watched(browser, address) as profile:
        yield profile


@pytest.fixture
def context(profile: tuple[BrowserContext, Watch]) -> BrowserContext:
    return profile[0]


@pytest.fixture
def page(context: BrowserContext, address: str) -> Page:
    from tests.serve.browser import opened

    return opened(context, address)
