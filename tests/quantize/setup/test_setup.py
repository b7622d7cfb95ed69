"""`setup`: from a hub's name to an answer, and from wherever an earlier run was ended."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.files.owner_lock import sole_owner
from omnilmm_lite.home.models import ModelStore
from omnilmm_lite.machine.card import Card
from quantize.setup import proposal, steps
from quantize.setup.state import SetupState
from tests.command_line import Run, Terminal, refused
from tests.hub.local_hub import Fault, LocalHub, sha256
from tests.quantize.setup import conftest
from tests.quantize.setup.conftest import NAME

SETUP = ("setup", NAME, "--preset", "reference")
CAT = "examples/pictures/cat.png"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetched(serving: LocalHub) -> list[str]:
    """The weights that were asked for, not the index of them."""
    return [each.path for each in serving.asked("/resolve/") if each.path.endswith(".safetensors")]


# ---- all of it ----


def test_from_a_name_to_an_answer_without_another_option(run: Run, home: Path, serving: LocalHub) -> None:
    """Tiny would know the cat."""
    done = run(*SETUP, "--yes")
    assert done.code == 0, done.err
    folder = home / "models" / "OmniLMM-12B"
    assert f"OmniLMM-12B: whole, verified, and the default now: {folder}" in done.out
    said = done.err.splitlines()
    for fact in ("preset    reference", "why ", "download ", "disk ", "memory ", "time "):
        assert any(line.startswith(fact) for line in said), fact
    Bundle.open(folder).verify()
    answer = run("run", CAT, "-p", "What is this?", "--greedy", "--max-new-tokens", 3)
    named = run("run", CAT, "-p", "What is this?", "--greedy", "--max-new-tokens", 3, "--model", folder)
    assert (answer.code, answer.err) == (0, "") and answer.out == named.out != "This is a cat.\n"
    (row,) = run("models", "--json").json["models"]
    assert (row["name"], row["default"], row["preset"]) == ("OmniLMM-12B", True, "reference")
    assert row["origin"].endswith(f"/{NAME}@{serving.repos[NAME].commit}")


def test_the_preset_is_the_machine_s(run: Run, monkeypatch: pytest.MonkeyPatch, serving: LocalHub) -> None:
    def proposed(*cards: Card) -> list[str]:
        room = replace(conftest.look_once(), cards=cards)
        monkeypatch.setattr(proposal, "look_at_machine", lambda: room)
        lines = run("setup", NAME, stdin=Terminal("n\n")).err.splitlines()
        return [line for line in lines if line.startswith(("preset ", "why "))]

    card = Card(0, "a card", 12 << 30, 11 << 30, (8, 9))
    assert proposed()[0].startswith("preset    cpu: tower and prompts in int8")
    assert proposed(card)[0].startswith("preset    24gb: ")  # a small model fits in the best way
    assert proposed(card)[1].startswith("why       the best that a card with 12.0 GiB has room for: fits with ")


def test_the_same_command_again_asks_no_hub_and_changes_nothing(run: Run, home: Path, serving: LocalHub) -> None:
    assert run(*SETUP, "--yes").code == 0
    before, asked = files(home / "models"), len(serving.requests)
    again = run("setup", NAME)  # nothing is left to ask about
    assert (again.code, files(home / "models"), len(serving.requests)) == (0, before, asked)
    assert not [path for path in home.rglob(".*") if path.is_file()]


# ---- who is asked ----


def test_it_asks_at_a_terminal_and_remembers_the_answer(run: Run, home: Path, serving: LocalHub) -> None:
    declined = run(*SETUP, stdin=Terminal("n\n"))
    assert (declined.code, declined.err.count("go on? [y/N]")) == (1, 1)
    assert "nothing was fetched or made: the answer was no" in declined.err
    assert not list((home / "models").glob("*")) and not fetched(serving)
    serving.fail("00001-of", Fault.STATUS, status=404)
    stopped = run(*SETUP, stdin=Terminal("y\n"))
    assert (stopped.code, "has no such file (404)" in stopped.err) == (1, True)
    gone_on = run("setup", NAME, stdin=io.StringIO())
    assert (gone_on.code, "go on?" in gone_on.err) == (0, False)
    assert Bundle.open(home / "models" / "OmniLMM-12B").manifest.preset == "reference"


def test_without_a_terminal_it_says_which_command_goes_on(run: Run, home: Path, serving: LocalHub) -> None:
    stopped = run(*SETUP, "--as", "mine", stdin=io.StringIO())
    assert stopped.code == 2
    assert f"`omnilmm-lite setup {NAME} --as mine --preset reference --yes` goes on" in stopped.err
    assert not list((home / "models").glob("*"))


# ---- wherever it was ended ----


@pytest.mark.parametrize("step", ["convert_into", "add", "Bundle", "set_default"])
def test_it_goes_on_behind_every_step(
    run: Run, home: Path, serving: LocalHub, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def end(*arguments: object) -> None:
        raise KeyboardInterrupt

    verified = SimpleNamespace(open=end)  # steps' alone: the machine's look verifies a bundle, too
    changes = {"Bundle": (steps, verified), "convert_into": (steps, end)}
    owner, change = changes.get(step, (ModelStore, end))
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, change)
        stopped = run(*SETUP, "--yes")
        assert (stopped.code, "the same command goes on" in stopped.err) == (130, True)
    before = fetched(serving)
    assert before and run(*SETUP, "--yes").code == 0
    assert fetched(serving) == before
    assert ModelStore(home).default() == "OmniLMM-12B"
    Bundle.open(home / "models" / "OmniLMM-12B").verify()


def test_a_cut_download_is_gone_on_with(run: Run, home: Path, serving: LocalHub, published: dict[str, bytes]) -> None:
    (shard,) = (sha256(data) for name, data in published.items() if "00001-of" in name)
    serving.fail(shard, Fault.CUT, amount=5000)
    serving.fail(shard, Fault.STATUS, status=404)
    assert run(*SETUP, "--yes").code == 1
    assert run(*SETUP, "--yes").code == 0
    assert [request.headers.get("Range") for request in serving.asked(shard)] == [None, "bytes=5000-", "bytes=5000-"]


def test_two_at_once(run: Run, home: Path, serving: LocalHub) -> None:
    (home / "work").mkdir(parents=True)
    with sole_owner(home / "work" / "OmniLMM-12B"):
        assert "another run is writing there" in refused(run(*SETUP, "--yes"))


# ---- other sources ----


def test_a_folder_is_used_where_it_lies(run: Run, home: Path, published: dict[str, bytes], tmp_path: Path) -> None:
    checkpoint = tmp_path / "My checkpoint"
    checkpoint.mkdir()
    for name, data in published.items():
        (checkpoint / name).write_bytes(data)
    done = run("setup", checkpoint, "--preset", "reference", "--yes")
    assert (done.code, f"download  none: it is in {checkpoint}" in done.err) == (0, True)
    assert files(checkpoint) == published
    assert ModelStore(home).get("My-checkpoint").record.checkpoint == checkpoint
    assert "which it was made from, stays" in run("models", "remove", "My-checkpoint", "--yes").err
    assert files(checkpoint) == published


def test_a_bundle_is_fetched_verified_and_the_default(run: Run, home: Path, hub: LocalHub, tiny_bundle: Path) -> None:
    """From a mirror, whose files come into the store; a hub's repository of one does the same."""
    bundle = files(tiny_bundle)
    hub.add("owner/ready", bundle)
    done = run("setup", f"{hub.address}/mirror/owner/ready", "--yes")
    assert (done.code, "it is a bundle, ready to run" in done.err) == (0, True)
    store = ModelStore(home)
    assert (store.default(), store.get("ready").folder) == ("ready", home / "models" / "ready")
    assert files(store.get("ready").folder) == bundle
    hub.add("owner/other", bundle)
    assert run("setup", "owner/other", "--yes").code == 0
    assert run("inspect", "other", "--verify").code == 0
    asked = run("run", "-p", "Hello?", "--max-new-tokens", 2, "--greedy")
    assert (asked.code, asked.err) == (0, "")


def test_a_damaged_bundle_never_becomes_the_default(run: Run, home: Path, hub: LocalHub, tiny_bundle: Path) -> None:
    bundle = files(tiny_bundle)
    data = bytearray(bundle["embeddings.npy"])
    data[-1] ^= 1
    hub.add("owner/bad", bundle | {"embeddings.npy": bytes(data)})
    assert run("setup", f"{hub.address}/mirror/owner/bad", "--yes").code != 0
    assert ModelStore(home).default() is None


# ---- what can't be ----


def test_wrong_words_are_refused_before_anything_is_asked(run: Run, home: Path, serving: LocalHub) -> None:
    assert "preset 'huge' is unknown" in refused(run("setup", NAME, "--preset", "huge"))
    assert "no such file or folder" in refused(run("setup", NAME, "--calibration", "nowhere"))
    assert "that is the built-in model's name" in refused(run("setup", NAME, "--as", "tiny"))
    assert "can't be a model's name" in refused(run("setup", NAME, "--as", "../x"))
    assert "neither a folder nor a model's name" in refused(run("setup", "OmniLMM-12B"))
    assert not serving.requests and not home.exists()


def test_a_name_that_is_taken(run: Run, home: Path, serving: LocalHub, tiny_bundle: Path) -> None:
    store = ModelStore(home)
    store.folder("mine").mkdir(parents=True)
    assert "there is a model of that name already, from elsewhere" in refused(run(*SETUP, "--as", "mine", "--yes"))
    assert run(*SETUP, "--yes").code == 0
    other = run("setup", tiny_bundle, "--as", "OmniLMM-12B", "--yes")
    assert f"already, from huggingface:{NAME}; give --as OTHER-NAME" in refused(other)
    preset = run("setup", NAME, "--preset", "cpu", "--yes")
    assert "OmniLMM-12B is there with the preset reference; give --as OTHER-NAME" in refused(preset)


def test_no_room_is_said_before_anything_is_fetched(
    run: Run, home: Path, serving: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposal, "_free", lambda folder: 1000)
    stopped = run(*SETUP, "--yes")
    assert (stopped.code, "make room, or set OMNILMM_HOME to a folder on another disk" in stopped.err) == (1, True)
    assert not fetched(serving)


def test_a_home_that_can_t_be_made_is_said(run: Run, home: Path, serving: LocalHub) -> None:
    home.write_text("a file", encoding="utf-8")
    assert "set OMNILMM_HOME to one that can be written" in refused(run(*SETUP, "--yes"))
    assert not serving.requests


@pytest.mark.parametrize("text", ["[]", "{", '{"version": 1}', '{"version": 9, "source": "x"}',
                                  '{"version": 1, "source": "x", "preset": 3}'])  # fmt: skip
def test_a_damaged_note_is_named(run: Run, home: Path, serving: LocalHub, text: str) -> None:
    work = home / "work" / "OmniLMM-12B"
    work.mkdir(parents=True)
    (work / "setup.json").write_text(text, encoding="utf-8")
    complaint = refused(run(*SETUP, "--yes"))
    assert f"{Path(work.name, 'setup.json')}" in complaint  # of a long line, the middle is left out
    assert complaint.endswith(f"remove {work}, and begin again")  # and not: download it again


def test_what_is_settled_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = SetupState("huggingface:a/b@c", "cpu", tmp_path / "pictures", tmp_path / "snapshot", "hub/a/b@c")
    state.write(tmp_path)
    assert SetupState.read(tmp_path) == state
    assert SetupState.read(tmp_path / "nowhere") is None
