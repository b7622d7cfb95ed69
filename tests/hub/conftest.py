"""A local hub, and a home of its own for whatever is fetched."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from omnilmm_lite.hub import http
from omnilmm_lite.hub.pull import PullPlan
from tests.hub.local_hub import LocalHub
from tests.paths import ROOT

CHECKPOINT = ROOT / "examples" / "tiny" / "checkpoint"


class Heard:
    """Who a pull is told to."""

    def __init__(self, *, agrees: bool = True) -> None:
        self.notes: list[str] = []
        self.files: list[str] = []
        self.plans: list[PullPlan] = []
        self.bytes = 0
        self.agrees = agrees

    def note(self, line: str) -> None:
        assert "\n" not in line
        self.notes.append(line)

    def planned(self, plan: PullPlan) -> bool:
        self.plans.append(plan)
        return self.agrees

    def file(self, path: str, size: int) -> None:
        self.files.append(path)

    def received(self, count: int) -> None:
        self.bytes += count


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def checkpoint_files() -> dict[str, bytes]:
    """As the published one has them, with files that conversion doesn't read, and made-up weights."""
    names = ("config.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
    files = {name: (CHECKPOINT / name).read_bytes() for name in names}
    return files | {"README.md": b"# a model", "pytorch_model.bin": noise(300_000), "training.log": noise(5000)}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """Asked for whatever Hugging Face's library or ModelScope's interface is asked for; nobody waits between tries."""
    from huggingface_hub import close_session, constants

    proxies = [f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL")]
    tokens = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN"]
    for name in (*proxies, *map(str.lower, proxies), *tokens, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMNILMM_HOME", str(tmp_path / "home"))
    home = tmp_path / "hf-home"
    with LocalHub().running() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        template = running.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HOME", str(home))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("MODELSCOPE_DOMAIN", running.address)
        monkeypatch.setattr(http, "sleep", lambda seconds: None)
        monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None))
        yield running
        close_session()
