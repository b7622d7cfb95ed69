"""Bundles go up by Hugging Face's own library, to a hub that speaks its interface, and come down again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, constants

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.manifest import MANIFEST
from omnilmm_lite.errors import InputError
from omnilmm_lite.home.models import ModelStore
from omnilmm_lite.hub.model_card import model_card
from omnilmm_lite.hub.pull import pull
from omnilmm_lite.hub.push import find_target, push
from omnilmm_lite.hub.source import Source
from tests.command_line import Result, Run, Terminal, edit, refused, runner
from tests.hub.conftest import Heard
from tests.hub.local_hub import TOKEN, Fault, LocalHub, sha256
from tests.hub.test_other_sources import TINY, bundle_files

REPO = "somebody/my-bundle"

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the library's own requests


@pytest.fixture
def run(hub: LocalHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return runner(capsys, monkeypatch)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return shutil.copytree(TINY, tmp_path / "bundle")


def test_a_bundle_goes_up_and_comes_down(hub: LocalHub, run: Run, bundle: Path) -> None:
    done = run("push", bundle, REPO, "--yes")
    assert done.code == 0, done.err
    assert done.out.strip() == f"{hub.address}/{REPO}/commit/{hub.repos[REPO].commit}"
    assert not hub.repos[REPO].private
    card = hub.repos[REPO].files.pop("README.md").decode()
    assert hub.repos[REPO].files == bundle_files()
    assert f"omnilmm-lite pull {REPO}" in card
    pulled = pull(Source.parse(f"hf:{REPO}"), Heard())
    assert {path.name: path.read_bytes() for path in pulled.folder.iterdir()} == bundle_files()
    # the same again sends nothing twice
    hub.requests.clear()
    assert run("push", bundle, REPO, "--yes").code == 0
    assert not hub.asked("/upload/", "PUT")


def test_a_public_upload_is_asked_for(hub: LocalHub, run: Run, bundle: Path) -> None:
    assert "nothing was uploaded" in run("push", bundle, REPO, stdin=Terminal("\n")).err
    assert REPO not in hub.repos
    assert run("push", bundle, REPO, stdin=Terminal("y\n")).code == 0
    assert not hub.repos[REPO].private


def test_a_model_of_the_store_goes_up_by_its_name(hub: LocalHub, run: Run, bundle: Path) -> None:
    folder = ModelStore.here().folder("mine")
    folder.parent.mkdir(parents=True)
    bundle.rename(folder)
    assert run("push", "mine", REPO, "--private").code == 0
    assert bundle_files().items() <= hub.repos[REPO].files.items()


def test_a_private_one_needs_no_word(hub: LocalHub, run: Run, bundle: Path) -> None:
    assert run("push", bundle, REPO, "--private").code == 0
    assert hub.repos[REPO].private
    assert run("push", bundle, REPO).code == 0  # it is private already
    hub.repos[REPO].private = False
    assert "--private" in complaint(run("push", bundle, REPO, "--private"))


def complaint(result: Result) -> str:
    """The last line of stderr, which says what is wrong; the exit code is that of a mistake or a failure."""
    assert result.code in (1, 2)
    assert not result.out
    line = result.err.splitlines()[-1]
    assert line.startswith("omnilmm-lite: ")
    return line


def test_what_keeps_a_bundle_from_going_up(
    hub: LocalHub, run: Run, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "OWNER/MODEL" in complaint(run("push", bundle, "my-bundle", "--yes"))
    hub.fail("/api/repos/create", Fault.STATUS, method="POST", status=403)
    assert "may not write" in complaint(run("push", bundle, REPO, "--yes"))
    hub.fail("/commit/", Fault.STATUS, method="POST", status=400)
    assert "the upload failed" in complaint(run("push", bundle, REPO, "--yes"))
    hub.fail("/upload/", Fault.STATUS, method="PUT", status=403)
    hub.blobs.clear()
    assert "may not write" in complaint(run("push", bundle, REPO, "--yes"))
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    assert "doesn't know this token" in complaint(run("push", bundle, REPO, "--yes"))
    monkeypatch.delenv("HF_TOKEN")
    assert "it wants a token" in complaint(run("push", bundle, REPO, "--yes"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "HF_HUB_OFFLINE" in complaint(run("push", bundle, REPO, "--yes"))


def test_a_damaged_bundle_stays_here(hub: LocalHub, run: Run, bundle: Path) -> None:
    opened, target = Bundle.open(bundle), find_target(REPO, private=True)
    data = (bundle / "embeddings.npy").read_bytes()
    (bundle / "embeddings.npy").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "the file is damaged" in complaint(run("push", bundle, REPO, "--yes"))
    with pytest.raises(InputError, match="the file is damaged"):  # since it was opened
        push(opened, target, lambda line: None)
    assert REPO not in hub.repos
    assert "no such bundle" in refused(run("push", bundle / "nothing", REPO, "--yes"))


def test_somebody_s_own_page_stays(hub: LocalHub, run: Run, bundle: Path) -> None:
    assert run("push", bundle, REPO, "--private").code == 0
    made = hub.repos[REPO].files["README.md"]
    assert run("push", bundle, REPO, "--private").code == 0
    assert hub.repos[REPO].files["README.md"] == made
    hub.repos[REPO].files["README.md"] = b"# mine"
    assert "stays as it is" in run("push", bundle, REPO, "--private").err
    assert hub.repos[REPO].files["README.md"] == b"# mine"


# ---- the page ----


def front(card: str) -> Any:
    """The page's data, as Hugging Face's library reads it."""
    return ModelCard(card).data


def test_the_page_says_what_the_manifest_says(bundle: Path) -> None:
    manifest = Bundle.open(bundle).manifest
    card = model_card(manifest, REPO)
    assert front(card).license == "other"
    for entry in manifest.files:
        assert f"| `{entry.path}` | {entry.size:,} | `{entry.sha256}` |" in card
    assert "same top token 98.4%" in card
    assert "within 9.0e-03 of the torch reference (allowed: 0.1)" in card
    assert "preset `cpu`" in card
    assert "base_model" not in card


def test_the_page_names_the_model_it_was_made_from(bundle: Path) -> None:
    known = "a8b8bc958406ad8de704860fc9d772e16aff0c1759936eaacbf82c5912d68654"
    weights = {"path": "pytorch_model.bin", "size": 23_000_000_000, "sha256": known}
    edit(bundle, source={"folder": "somewhere", "files": [weights]})
    card = model_card(Bundle.open(bundle).manifest, REPO)
    assert front(card).base_model == "openbmb/OmniLMM-12B"
    assert front(card).license_link == "https://huggingface.co/openbmb/OmniLMM-12B"
    edit(bundle, source={"folder": "RLAIF-V-12B", "files": []})
    assert front(model_card(Bundle.open(bundle).manifest, REPO)).base_model == "openbmb/RLAIF-V-12B"


WORDS = ["`</code><script>x</script>", "a | b\n# c", "[x](http://y)", "\x1b[31m", "---\nlicense: mit"]


@pytest.mark.parametrize("word", WORDS)
def test_a_manifest_s_words_are_no_markdown(bundle: Path, word: str) -> None:
    data = json.loads((bundle / MANIFEST).read_text())
    settings = {word: word}
    edit(
        bundle,
        tool_version=word,
        parity={"graphs": {word: {"difference": 0.5, "tolerance": 1.0}}},
        quantization=data["quantization"] | {"settings": settings},
        source={"folder": word, "files": [{"path": word, "size": 1, "sha256": sha256(b"")}]},
    )
    card = model_card(Bundle.open(bundle).manifest, REPO)
    assert word not in card
    assert "<script>" not in card and "](http://y" not in card
    assert front(card).license == "other"
