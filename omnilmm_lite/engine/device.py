"""Which device runs the graphs, and sessions that are proven to run there.

onnxruntime falls back to the CPU without an error when a CUDA library is missing, so a session's own
`get_providers()` is the only thing believed here. The CUDA path has never run on a GPU: see docs/gpu.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.cuda_support import (
    count_cards_as_the_driver,
    explain,
    missing_for_cuda,
    name_cards,
    unfit_card,
    unloadable_library,
)
from omnilmm_lite.engine.interrupt import ended_by
from omnilmm_lite.engine.placement import DeviceId, Placement, parse_placement
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.card import Cards, read_cards
from omnilmm_lite.machine.extras import Extra, install_command
from omnilmm_lite.machine.threads import limited_threads

# onnxruntime >= 1.29 for Linux reports usage to its vendor unless this is set before the library loads.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    import onnxruntime

AUTO = "auto"
FPA_INTB_ENTRY = "ep.cuda.fpa_intb_gemm"  # source: onnxruntime, contrib_ops/cuda/quantization/matmul_nbits.h
SILENT, WARNINGS = 4, 2  # onnxruntime's severities: nothing but its own end; its default

# The cards that this process has a CUDA context on: it stays until the process ends, whatever is let go of.
_CONTEXTS: set[int] = set()

# Why the cards have no room for what is to be loaded, or an empty string; see `omnilmm_lite.plan.card_room`.
Room: TypeAlias = Callable[[Placement, Cards], str]


@dataclass(frozen=True)
class DeviceChoice:
    """Where to run, and the reason, for people to read. `is_fallback`: what was meant can't be used."""

    placement: Placement
    reason: str
    is_fallback: bool = False

    @property
    def device(self) -> Device:
        return self.placement.decoder.device


class DeviceError(OmniLMMError):
    """The device that was asked for can't run a graph; the text says what is missing."""


def import_onnxruntime() -> Any:
    """onnxruntime, with its telemetry off; InputError where no build of it is installed, or a damaged one."""
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            raise InputError(
                f"onnxruntime is not installed: run {install_command(Extra.CPU)}, with gpu in place of cpu for an "
                "NVIDIA card"
            ) from None
        raise _damaged(_first_line(error)) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise _damaged("parts of it are missing")  # one of two builds was uninstalled, and took the other's files
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _damaged(what: str) -> InputError:
    return InputError(
        f"onnxruntime is installed but damaged ({what}): uninstall onnxruntime and onnxruntime-gpu, then install "
        "omnilmm-lite[cpu] or omnilmm-lite[gpu]"
    )


def choose_device(wanted: str, target: Device, room: Room | None = None) -> DeviceChoice:
    """`wanted`: auto, cpu, cuda, cuda:1 or cuda:0,cuda:1. `target`: the device the bundle was built for, which `auto`
    follows, onto the first card that can be used. `room`: asked of every card before it is taken.

    InputError for a device that is unknown, isn't there or isn't the bundle's; DeviceError where a card that was asked
    for can't be used. One line each, with what was found and what to do.
    """
    if wanted == AUTO:
        if target is Device.CPU:
            return DeviceChoice(Placement.on(Device.CPU), "the bundle is built for the CPU")
        return _first_card(room)
    placement = parse_placement(wanted)
    if placement == Placement.on(Device.CPU):
        return DeviceChoice(placement, "asked for")
    if target is Device.CPU:  # onnxruntime would leave such operators to the CPU, unsaid
        raise InputError(
            f"--device {wanted}: the bundle is built for the CPU, and CUDA has no kernels for some of its operators; "
            "convert the checkpoint with a card's preset, such as 24gb, or leave --device out"
        )
    if missing := missing_cuda(cards := read_cards()):
        raise DeviceError(f"CUDA was asked for, but {missing}")
    for device in placement.devices if cards.found else ():
        if cards.at(device.index) is None:
            raise InputError(f"device {wanted!r}: there is no {device}; {name_cards(cards.found)}")
    if reason := _unfit(placement, cards, room):
        raise DeviceError(f"--device {wanted}: {reason}")
    return DeviceChoice(placement, "asked for")


def _first_card(room: Room | None) -> DeviceChoice:
    """The first card that can be used and has room, else the CPU with what is wrong with the first."""
    if missing := missing_cuda(cards := read_cards()):
        return fallback(missing)
    if not cards.found:  # nothing can be asked about them; the session will say
        return DeviceChoice(Placement.on(Device.CUDA), "the bundle is built for CUDA, and onnxruntime has it")
    reasons: list[str] = []
    for card in cards.found:
        placement = Placement.on(DeviceId(Device.CUDA, card.index))
        if not (reason := _unfit(placement, cards, room)):
            passed = f"; not the first, as {reasons[0]}" if reasons else ""
            return DeviceChoice(placement, f"the bundle is built for CUDA, and {card.name} is there{passed}")
        reasons.append(reason)
    return fallback(reasons[0])


def _unfit(placement: Placement, cards: Cards, room: Room | None) -> str:
    """Why these cards can't be used, or an empty string."""
    ort = import_onnxruntime()
    for device in placement.devices:
        card = cards.at(device.index)
        if card is not None and (reason := unfit_card(ort, card)):
            return reason
    return "" if room is None else room(placement, cards)


def has_context(where: DeviceId) -> bool:
    """Whether this process has run something on that card, and has CUDA's own part of its memory already."""
    return where.device is Device.CUDA and where.index in _CONTEXTS


def fallback(reason: str) -> DeviceChoice:
    """The CPU, in place of the card that a bundle was built for."""
    return DeviceChoice(Placement.on(Device.CPU), f"the bundle is built for CUDA, but {reason}", is_fallback=True)


def open_session(
    path: Path,
    device: Device | DeviceId,
    threads: int | None = None,
    *,
    cuda_graph: bool = False,
    mapped: bool = False,
    fpa_intb: bool = False,
) -> onnxruntime.InferenceSession:
    """A session for the graph at `path` that runs on `device`; DeviceError where it would run elsewhere.

    `cuda_graph`: on a card, steps are recorded and replayed; see `omnilmm_lite.engine.binding`. `mapped`: on the CPU,
    weights are used as they lie in the mapped file (see `Manifest.mapped`). `fpa_intb`: on a card, products are packed
    for the kernels of `Packing.FPA_INTB`. OmniLMMError where onnxruntime can't load the graph at all.
    """
    ort, where = import_onnxruntime(), DeviceId.of(device)
    options = session_options(ort, threads)
    if mapped and where.device is Device.CPU:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if fpa_intb and where.device is Device.CUDA:
        options.add_session_config_entry(FPA_INTB_ENTRY, "1")
        # an arena keeps what it has once had: outside of it, what was packed anew is given back to the card
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    # loading gigabytes takes seconds, and a thread's interrupt ends that, too
    cancelled = ended_by(lambda: options.set_load_cancellation_flag(True))
    with cancelled, _load_errors(path, where), _quiet(ort, where):
        # without enable_fallback=0 a CUDA error is printed on stdout, and the session quietly made for the CPU
        session = ort.InferenceSession(str(path), options, providers=providers(where, cuda_graph), enable_fallback=0)
    used = session.get_providers()[0]
    if used != where.device.provider:
        library = unloadable_library(ort) or "a CUDA or cuDNN library"
        raise DeviceError(
            f"{path.name} was to run on {where}, but onnxruntime {ort.__version__} chose {used}: {library} is missing "
            "or has the wrong version: install omnilmm-lite[gpu] anew"
        )
    if where.device is Device.CUDA:
        _CONTEXTS.add(where.index)
    session.disable_fallback()  # else a later CUDA error would silently re-create the session on the CPU
    return session


@contextlib.contextmanager
def _quiet(ort: Any, where: DeviceId) -> Iterator[None]:
    """On a card, onnxruntime logs in red what we raise in one line."""
    if where.device is Device.CPU:
        yield
        return
    ort.set_default_logger_severity(SILENT)
    try:
        yield
    finally:
        ort.set_default_logger_severity(WARNINGS)


@contextlib.contextmanager
def _load_errors(path: Path, where: DeviceId) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # onnxruntime's exceptions share no base class
        if where.device is not Device.CPU:
            raise DeviceError(f"{path.name} can't run on {where}: {_explained(error)}") from error
        raise OmniLMMError(
            f"{path}: onnxruntime can't load this graph: {_first_line(error)}; `omnilmm-lite inspect --verify` says "
            "whether the bundle is whole"
        ) from error


def run_graph(
    session: onnxruntime.InferenceSession,
    binding: onnxruntime.IOBinding,
    what: str,
    options: onnxruntime.RunOptions | None = None,
) -> None:
    """Runs a session on what is bound, under the thread's interrupt if it has one.

    OmniLMMError with `what` in front for whatever onnxruntime raises; Interrupted where it was stopped.
    """
    options = options or import_onnxruntime().RunOptions()

    def stop() -> None:
        options.terminate = True

    try:
        with ended_by(stop), graph_errors(what):
            session.run_with_iobinding(binding, options)
    finally:
        options.terminate = False  # the caller may use them again


@contextlib.contextmanager
def graph_errors(what: str) -> Iterator[None]:
    """Turns whatever onnxruntime raises while a graph runs into OmniLMMError, one line."""
    try:
        yield
    except Exception as error:  # as above: no base class
        line = _explained(error)
        raise OmniLMMError(f"{what}: onnxruntime failed while running it: {line}") from error


def session_options(ort: Any, threads: int | None) -> onnxruntime.SessionOptions:
    """`threads`: None for the default, see `omnilmm_lite.machine.threads`."""
    options = ort.SessionOptions()
    options.log_severity_level = SILENT  # what goes wrong is raised as well, and said by us in one line
    if threads is None:
        threads = limited_threads()
    if threads is not None:
        options.intra_op_num_threads = threads
    # not session.set_denormal_as_zero, which would speed random weights up: it changes the floating-point mode of the
    # thread that makes the process's first session, and with it what numpy computes in the program that loads us
    # not enable_cpu_mem_arena=False: it lowers what is held between runs, but not the peak
    return options


def providers(device: Device | DeviceId, cuda_graph: bool = False) -> list[Any]:
    """onnxruntime's provider list: exactly the device, plus the CPU that CUDA sessions need for shape arithmetic."""
    where = DeviceId.of(device)
    if where.device is Device.CPU:
        return [Device.CPU.provider]
    cuda = {
        "device_id": str(where.index),
        "arena_extend_strategy": "kSameAsRequested",  # the default took 1.1 to 1.8 times as much: docs/gpu-kernels.md
        # the one convolution, of the pixels, is not worth a search at the first picture, nor a large workspace
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "0",
        "do_copy_in_default_stream": "1",
    }
    if cuda_graph:
        cuda["enable_cuda_graph"] = "1"
    return [(Device.CUDA.provider, cuda), Device.CPU.provider]


def missing_cuda(cards: Cards) -> str:
    """Why CUDA can't be used, or an empty string; CUDA's libraries are loaded then."""
    count_cards_as_the_driver()
    return missing_for_cuda(import_onnxruntime(), cards)


def _explained(error: Exception) -> str:
    """CUDA's own errors may stand in any line of what onnxruntime says."""
    text = str(error)
    found = explain(text)
    return _first_line(error) if found == text else found


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
