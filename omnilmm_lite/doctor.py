"""What this machine has for running bundles, and what stands in the way."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.folder import BUILTIN_NAME, Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import AUTO, choose_device, import_onnxruntime, open_session
from omnilmm_lite.engine.versions import versions
from omnilmm_lite.errors import OmniLMMError
from omnilmm_lite.machine.description import Machine
from omnilmm_lite.machine.support import unsupported_reason
from omnilmm_lite.proof import (
    OperatorProof,
    ProductSpeed,
    measure_products,
    prove_operators,
    saturates,
)

ENGINES = ("onnxruntime", "onnxruntime-gpu")  # they install the same module
CONVERT_PACKAGES = ("onnx", "safetensors", "sentencepiece", "torch")
NVIDIA_SMI = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
NVIDIA_SMI_SECONDS = 10  # a driver that hangs must not hang the doctor


@dataclass(frozen=True)
class Provider:
    """One device as onnxruntime sees it. `works`: a session was made there; `detail` says why not."""

    device: str
    works: bool
    detail: str


@dataclass(frozen=True)
class Arithmetic:
    """What the CPU computes. `pairs_saturate`: it adds pairs of 8-bit products in 16 bits, which bundles allow for."""

    proofs: tuple[OperatorProof, ...]
    pairs_saturate: bool
    speed: ProductSpeed | None  # None where products don't run at all


@dataclass(frozen=True)
class Diagnosis:
    machine: Machine
    packages: dict[str, str | None]  # None: not installed
    gpus: tuple[str, ...]  # name, driver version, memory, as the driver's own tool says them
    providers: tuple[Provider, ...]
    arithmetic: Arithmetic | None  # None where the CPU can't run a graph
    bundle: str
    auto: str | None  # the device that `auto` takes, None where the bundle can't be opened
    auto_reason: str
    problems: tuple[str, ...]


def diagnose(bundle: str | Path | None = None) -> Diagnosis:
    """Looks at everything, and hashes the bundle."""
    machine = Machine.read(versions())
    packages = {name: _version(name) for name in (*ENGINES, *CONVERT_PACKAGES)}
    problems = [reason] if (reason := unsupported_reason()) else []
    if all(packages[name] for name in ENGINES):
        problems.append("onnxruntime and onnxruntime-gpu are both installed and overwrite each other: uninstall both, "
                        "then install omnilmm-lite[cpu] or omnilmm-lite[gpu]")  # fmt: skip
    gpus = _gpus()
    providers = tuple(_try_device(device) for device in Device)
    works = {provider.device: provider.works for provider in providers}
    if not works[Device.CPU.value]:
        problems.append(f"the CPU can't run a graph: {providers[0].detail}")
    arithmetic = _prove(machine) if works[Device.CPU.value] else None
    if arithmetic is not None:
        problems += [proof.complaint() for proof in arithmetic.proofs if not proof.holds]
    if gpus and not works[Device.CUDA.value]:
        problems.append(f"there is an NVIDIA card, but it can't be used: {providers[1].detail}")
    name, auto = str(bundle or BUILTIN_NAME), None
    try:
        opened = Bundle.find(bundle)
        opened.verify()
        choice = choose_device(AUTO, opened.manifest.target)
        auto, reason = choice.device.value, choice.reason
        if choice.device is Device.CUDA and not works[Device.CUDA.value]:
            auto, reason = Device.CPU.value, f"the bundle is built for CUDA, but {providers[1].detail}"
    except OmniLMMError as error:
        reason = str(error)
        problems.append(reason)
    return Diagnosis(machine, packages, gpus, providers, arithmetic, name, auto, reason, tuple(problems))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _try_device(device: Device) -> Provider:
    """Makes a session for the built-in resampler: what onnxruntime says about itself isn't believed."""
    try:
        ort = import_onnxruntime()
    except OmniLMMError as error:
        return Provider(device.value, False, str(error))
    if device.provider not in ort.get_available_providers():
        return Provider(device.value, False, f"this onnxruntime ({ort.__version__}) is built without it")
    try:
        if device is Device.CUDA:
            choose_device(device.value, device)  # finds the libraries of the nvidia-* packages first
        open_session(BUILTIN / BUILTIN_NAME / "resampler.onnx", device)
    except OmniLMMError as error:
        missing = _missing_library(Path(ort.__file__).parent / "capi") if device is Device.CUDA else None
        return Provider(device.value, False, f"{missing} is missing" if missing else str(error))
    return Provider(device.value, True, "a graph was opened on it")


def _prove(machine: Machine) -> Arithmetic:
    """Takes about a second."""
    proofs = prove_operators()
    runs = not any(proof.failure for proof in proofs)
    return Arithmetic(proofs, saturates(), measure_products(machine.threads) if runs else None)


def _missing_library(folder: Path) -> str | None:
    """The library that the CUDA provider in `folder` can't be loaded without, by the loader's own message."""
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        match = re.match(r"(\S+?): cannot open shared object file", str(error))
        return Path(match[1]).name if match else None
    return None


def _gpus() -> tuple[str, ...]:
    """One line a card; none where the driver's tool is missing or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    try:
        done = subprocess.run([tool, *NVIDIA_SMI], capture_output=True, text=True, timeout=NVIDIA_SMI_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip()) if done.returncode == 0 else ()
