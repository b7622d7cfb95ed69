"""The steps of a setup, each of which may be killed and begun again: fetch, convert, verify, make it the default."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.checkpoint_config import checkpoint_config
from export.torch_setup import check_convert_installed, limit_torch_threads
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.config import OmniLMMConfig
from omnilmm_lite.console import ConsoleProgress
from omnilmm_lite.errors import InputError
from omnilmm_lite.files.durable_file import write_durably
from omnilmm_lite.files.owner_lock import sole_owner
from omnilmm_lite.home.folder import make_folder, work_folder
from omnilmm_lite.home.model_record import ModelKind, ModelRecord
from omnilmm_lite.home.models import ModelStore, StoredModel
from omnilmm_lite.hub.choice import CONFIG
from omnilmm_lite.hub.pull import Pulled, PullListener, PullPlan, pull
from omnilmm_lite.hub.source import Source
from quantize.convert_command import add_convert, parse_request
from quantize.setup.proposal import Download, Proposal, choose
from quantize.setup.state import SetupState

CONVERSION = "convert"  # within the setup's work folder


@dataclass(frozen=True)
class SetupRequest:
    """What was asked for. `name`: of the model; `preset`: None takes what suits the machine."""

    source: Source
    name: str
    preset: str | None
    calibration: Path | None

    @property
    def source_text(self) -> str:
        """The same for the same source, and fit for an error."""
        revision = "" if self.source.revision is None else f"@{self.source.revision}"
        return f"{self.source.hub.value}:{self.source.shown}{revision}"


class Setup:
    """One run of a setup. `agree` shows what is proposed and asks; where it comes back, the answer was yes."""

    def __init__(self, request: SetupRequest, listener: PullListener, agree: Callable[[Sequence[str]], None]) -> None:
        self._request, self._listener, self._agree = request, listener, agree
        self._store = ModelStore.here()
        self._out = self._store.folder(request.name)
        self._work = work_folder(request.name)
        self._state: SetupState | None = None

    def run(self) -> StoredModel:
        """Gives the model, which is the default then. InputError or OmniLMMError, one line, for whatever stops it."""
        name = self._request.name
        make_folder(self._work.parent)
        with sole_owner(self._work, self._listener.note):
            model = self._finished()
            if model is None:
                self._state = SetupState.read(self._work)
                self._check_place()
                self._store.add(name, self._make())
                model = self._store.get(name)
            if model.kind is ModelKind.BUNDLE:
                Bundle.open(model.folder).verify()
            self._store.set_default(name)
            return model

    # ---- what is there ----

    def _finished(self) -> StoredModel | None:
        """The model where an earlier run has made it. InputError where it is another one, or of another preset."""
        name, wanted = self._request.name, self._request.preset
        model = self._store.find(name) if name in self._store.names() else None
        if model is None or model.record.source is None:
            return None
        if model.record.source != self._request.source_text:
            raise self._taken(model.record.source)
        if wanted is not None and model.kind is ModelKind.BUNDLE:
            there = Bundle.open(model.folder).manifest.preset
            if there != wanted:
                raise InputError(f"{name} is there with the preset {there}; give --as OTHER-NAME for one more")
        return model

    def _check_place(self) -> None:
        """InputError where somebody else's model has the name, or another setup has begun with it."""
        if self._state is not None and self._state.source != self._request.source_text:
            raise self._taken(self._state.source)
        if self._state is None and self._request.name in self._store.names():
            raise self._taken("elsewhere")

    def _taken(self, source: str) -> InputError:
        name = self._request.name
        return InputError(
            f"{name}: there is a model of that name already, from {source}; give --as OTHER-NAME, or `omnilmm-lite "
            f"models remove {name}` first"
        )

    # ---- the steps ----

    def _make(self) -> ModelRecord:
        pulled = self._fetched() or pull(self._request.source, Asking(self._listener, self._planned))
        source = self._request.source_text
        if pulled.kind is ModelKind.BUNDLE:
            if self._state is None:  # a folder that lies here: nothing was to be fetched, so nothing was said
                self._propose_bundle(Download(0, pulled.folder))
            folder = None if pulled.folder == self._out else pulled.folder
            return ModelRecord(ModelKind.BUNDLE, folder, pulled.origin, source)
        state = self._state
        if state is None:
            state = self._propose(checkpoint_config(pulled.folder), Download(0, pulled.folder))
        state = self._keep(replace(state, checkpoint=pulled.folder, origin=pulled.origin))
        if not self._out.is_dir():
            convert_into(self._out, state, self._work / CONVERSION)
        return ModelRecord(ModelKind.BUNDLE, None, pulled.origin, source, pulled.folder)

    def _fetched(self) -> Pulled | None:
        """The checkpoint where an earlier run has fetched it: no hub is asked again."""
        state = self._state
        if state is None or state.checkpoint is None or not (state.checkpoint / CONFIG).is_file():
            return None
        self._propose(checkpoint_config(state.checkpoint), Download(0, state.checkpoint))
        return Pulled(state.checkpoint, ModelKind.CHECKPOINT, state.origin or str(state.checkpoint))

    def _planned(self, plan: PullPlan) -> bool:
        """What is about to be fetched is known: proposes it, and remembers what was agreed to."""
        download = Download(plan.missing, plan.folder)
        if plan.kind is ModelKind.BUNDLE:
            self._propose_bundle(download)
        else:
            self._work.mkdir(exist_ok=True)
            write_durably(self._work / CONFIG, lambda partial: partial.write_bytes(plan.config))
            self._propose(checkpoint_config(self._work), download)
        return True

    def _propose_bundle(self, download: Download) -> None:
        self._tell([f"{'preset':<10}none to choose: it is a bundle, ready to run", f"download  {download.describe()}"])
        self._keep(SetupState(self._request.source_text, None, None))

    def _propose(self, config: OmniLMMConfig, download: Download) -> SetupState:
        """Settles the preset: what is asked for, else what was settled before, else what suits the machine."""
        check_convert_installed("conversion")
        request, before = self._request, self._state
        preset = request.preset or (before.preset if before is not None else None)
        choice = choose(request.name, config, preset)
        proposal = Proposal(choice, download, self._out, self._work)
        proposal.check_disk()
        self._tell(proposal.lines())
        calibration = request.calibration or (before.calibration if before is not None else None)
        settled = SetupState(request.source_text, proposal.preset, calibration)
        if before is not None:
            settled = replace(before, preset=proposal.preset, calibration=calibration)
        return self._keep(settled)

    def _tell(self, lines: Sequence[str]) -> None:
        """Asks once: a setup that goes on was agreed to."""
        if self._state is None:
            self._agree(lines)
        else:
            for line in lines:
                self._listener.note(line)

    def _keep(self, state: SetupState) -> SetupState:
        self._state = state
        self._work.mkdir(exist_ok=True)
        state.write(self._work)
        return state


class Asking:
    """A listener for a pull that asks a function of the setup's before it passes on what is planned."""

    def __init__(self, listener: PullListener, planned: Callable[[PullPlan], bool]) -> None:
        self._planned, self._begin = planned, listener.planned
        self.note, self.file, self.received = listener.note, listener.file, listener.received

    def planned(self, plan: PullPlan) -> bool:
        return self._planned(plan) and self._begin(plan)


def convert_into(out: Path, state: SetupState, work: Path) -> None:
    """Makes the bundle, with `convert`'s own options, or goes on with it."""
    limit_torch_threads()
    from quantize.conversion import convert_checkpoint

    parser = argparse.ArgumentParser()
    add_convert(parser)
    words = [str(state.checkpoint), str(out), "--preset", str(state.preset), "--work-dir", str(work)]
    words += [] if state.calibration is None else ["--calibration", str(state.calibration)]
    request = parse_request(parser.parse_args(words))
    request.out.parent.mkdir(parents=True, exist_ok=True)
    request.device.prepare()
    with request.device.full_memory_said("the conversion"):
        convert_checkpoint(request, ConsoleProgress())
