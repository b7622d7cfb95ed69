"""`manifest.json` of a bundle, and what is shown and planned of it. Its own hash is made right: anybody could."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.commands.bundle_report import print_manifest
from omnilmm_lite.plan.memory import make_plan
from omnilmm_lite.plan.planned_model import PlannedModel
from tests.bundle.manifests import resealed
from tests.fuzz.form import Form
from tests.fuzz.scratch import scratch

FORM = Form.JSON
TINY = BUILTIN / "tiny"
MANIFEST = "manifest.json"


def seeds() -> Iterator[bytes]:
    yield (TINY / MANIFEST).read_bytes()


def try_bytes(data: bytes) -> None:
    (_folder() / MANIFEST).write_bytes(resealed(data))
    bundle = Bundle.open(_folder())
    with redirect_stdout(StringIO()) as shown:
        print_manifest(bundle.manifest, verified=False)
        print(bundle.manifest.to_json())
    shown.getvalue().encode("utf-8", "replace")
    make_plan(PlannedModel.bundle("fuzzed", bundle), 512)


@cache
def _folder() -> Path:
    return Path(shutil.copytree(TINY, scratch() / "manifest", copy_function=shutil.copyfile))
