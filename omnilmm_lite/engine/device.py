"""Which device runs the graphs, and sessions that are proven to run there.

onnxruntime falls back to the CPU without an error when a CUDA library is missing, so a session's own
`get_providers()` is the only thing believed here. The CUDA path has never run on a GPU: see docs/gpu.md.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.interrupt import ended_by
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.threads import limited_threads

# onnxruntime >= 1.29 for Linux reports usage to its vendor unless this is set before the library loads.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

if TYPE_CHECKING:
    import onnxruntime

AUTO = "auto"


@dataclass(frozen=True)
class DeviceChoice:
    """The device to use, and the reason, for people to read. `is_fallback`: the one that was meant can't be used."""

    device: Device
    reason: str
    is_fallback: bool = False


class DeviceError(OmniLMMError):
    """The device that was asked for can't run a graph; the text says what is missing."""


def import_onnxruntime() -> Any:
    """onnxruntime, with its telemetry off; InputError where no build of it is installed, or a damaged one."""
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            raise InputError(
                "onnxruntime is not installed: install omnilmm-lite[cpu], or omnilmm-lite[gpu] for an NVIDIA card"
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


def choose_device(wanted: str, target: Device) -> DeviceChoice:
    """`wanted`: auto, cpu or cuda. `target`: the device the bundle was built for, which `auto` follows."""
    if wanted == AUTO:
        if target is Device.CPU:
            return DeviceChoice(Device.CPU, "the bundle is built for the CPU")
        missing = _missing_cuda()
        if missing:
            return fallback(missing)
        return DeviceChoice(Device.CUDA, "the bundle is built for CUDA, and onnxruntime has it")
    try:
        device = Device(wanted)
    except ValueError:
        raise InputError(f"device {wanted!r} is unknown: choose auto, cpu or cuda") from None
    if device is Device.CUDA and target is Device.CPU:  # onnxruntime would leave such operators to the CPU, unsaid
        raise InputError(
            "--device cuda: the bundle is built for the CPU, and CUDA has no kernels for some of its operators; "
            "convert the checkpoint with a card's preset, such as 24gb, or leave --device out"
        )
    if device is Device.CUDA and (missing := _missing_cuda()):
        raise DeviceError(f"CUDA was asked for, but {missing}")
    return DeviceChoice(device, "asked for")


def fallback(reason: str) -> DeviceChoice:
    """The CPU, in place of the card that a bundle was built for."""
    return DeviceChoice(Device.CPU, f"the bundle is built for CUDA, but {reason}", is_fallback=True)


def open_session(
    path: Path, device: Device, threads: int | None = None, *, cuda_graph: bool = False, mapped: bool = False
) -> onnxruntime.InferenceSession:
    """A session for the graph at `path` that runs on `device`; DeviceError where it would run elsewhere.

    `cuda_graph`: on a card, steps are recorded and replayed; see `omnilmm_lite.engine.binding`. `mapped`: on the CPU,
    weights are used as they lie in the mapped file (see `Manifest.mapped`). OmniLMMError where onnxruntime can't load
    the graph at all.
    """
    ort = import_onnxruntime()
    options = session_options(ort, threads)
    if mapped and device is Device.CPU:
        options.add_session_config_entry("session.disable_prepacking", "1")
    # loading gigabytes takes seconds, and a thread's interrupt ends that, too
    with ended_by(lambda: options.set_load_cancellation_flag(True)), _load_errors(path, device):
        # without enable_fallback=0 a CUDA error is printed on stdout, and the session quietly made for the CPU
        session = ort.InferenceSession(str(path), options, providers=providers(device, cuda_graph), enable_fallback=0)
    used = session.get_providers()[0]
    if used != device.provider:
        raise DeviceError(
            f"{path.name} was to run on {device.value}, but onnxruntime chose {used}: a CUDA or cuDNN library is "
            f"missing or has the wrong version for onnxruntime {ort.__version__}; its own message above names it"
        )
    session.disable_fallback()  # else a later CUDA error would silently re-create the session on the CPU
    return session


@contextlib.contextmanager
def _load_errors(path: Path, device: Device) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # onnxruntime's exceptions share no base class
        if device is not Device.CPU:
            raise DeviceError(f"{path.name} can't run on {device.value}: {_first_line(error)}") from error
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
        raise OmniLMMError(f"{what}: onnxruntime failed while running it: {_first_line(error)}") from error


def session_options(ort: Any, threads: int | None) -> onnxruntime.SessionOptions:
    """`threads`: None for the default, see `omnilmm_lite.machine.threads`."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors; a fallback is reported by us
    if threads is None:
        threads = limited_threads()
    if threads is not None:
        options.intra_op_num_threads = threads
    # not session.set_denormal_as_zero, which would speed random weights up: it changes the floating-point mode of the
    # thread that makes the process's first session, and with it what numpy computes in the program that loads us
    # not enable_cpu_mem_arena=False: it lowers what is held between runs, but not the peak
    return options


def providers(device: Device, cuda_graph: bool = False) -> list[Any]:
    """onnxruntime's provider list: exactly the device, plus the CPU that CUDA sessions need for shape arithmetic."""
    if device is Device.CPU:
        return [Device.CPU.provider]
    cuda = {
        "arena_extend_strategy": "kSameAsRequested",  # the default took 1.1 to 1.8 times as much: docs/gpu.md
        # the one convolution, of the pixels, is not worth a search at the first picture, nor a large workspace
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "0",
        "do_copy_in_default_stream": "1",
    }
    if cuda_graph:
        cuda["enable_cuda_graph"] = "1"
    return [(Device.CUDA.provider, cuda), Device.CPU.provider]


def _missing_cuda() -> str:
    """Why CUDA can't be used, or an empty string."""
    ort = import_onnxruntime()
    if Device.CUDA.provider not in ort.get_available_providers():
        return f"this onnxruntime ({ort.__version__}) is built without it: install omnilmm-lite[gpu] instead of [cpu]"
    with contextlib.redirect_stdout(sys.stderr):  # where it prints what it doesn't find; stdout is the answer's
        ort.preload_dlls()  # finds the CUDA and cuDNN libraries of the nvidia-* packages
    return ""


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__
