"""What this machine has for running bundles, and what stands in the way."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from omnilmm_lite.builtin import BUILTIN
from omnilmm_lite.bundle.folder import BUILTIN_NAME, Bundle
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.cuda_support import GPU_EXTRA, unfit_card
from omnilmm_lite.engine.device import AUTO, choose_device, import_onnxruntime, missing_cuda, open_session
from omnilmm_lite.engine.placement import DeviceId
from omnilmm_lite.engine.versions import versions
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.home.chosen_model import is_builtin
from omnilmm_lite.home.models import ModelStore
from omnilmm_lite.machine.card import Card, Cards, read_cards
from omnilmm_lite.machine.description import Machine
from omnilmm_lite.machine.extras import (
    ENGINE_PACKAGES,
    Extra,
    engine_commands,
    install_command,
    package_command,
    reinstall_command,
)
from omnilmm_lite.machine.support import unsupported_reason
from omnilmm_lite.model import DEFAULT_CONTEXT
from omnilmm_lite.plan.card_room import missing_room
from omnilmm_lite.proof import (
    OperatorProof,
    ProductSpeed,
    measure_products,
    prove_operators,
    saturates,
)

CONVERT_PACKAGES = ("onnx", "safetensors", "sentencepiece", "torch")
OPENED = "a graph was opened on it"


@dataclass(frozen=True)
class Provider:
    """One device as onnxruntime sees it. `works`: a session was made there; `detail` says why not."""

    device: str
    works: bool
    detail: str


@dataclass(frozen=True)
class FoundCard:
    """A card. `works`: a session was made on it; `detail` says why not, and what to do."""

    card: Card
    works: bool
    detail: str


@dataclass(frozen=True)
class Driver:
    """NVIDIA's. `cuda`: the newest that it supports. `reason`: why there are no cards, empty where there are."""

    version: str | None
    cuda: str | None
    is_wsl: bool
    reason: str


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
    driver: Driver
    cards: tuple[FoundCard, ...]
    providers: tuple[Provider, ...]
    arithmetic: Arithmetic | None  # None where the CPU can't run a graph
    bundle: str
    auto: str | None  # the device that `auto` takes, None where the bundle can't be opened
    auto_reason: str
    problems: tuple[str, ...]
    fixes: tuple[tuple[str, ...], ...]  # for each problem the commands that mend it, none where no command does


class _Problems:
    """What is found, one after the other."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.fixes: list[tuple[str, ...]] = []

    def add(self, text: str, fix: tuple[str, ...] = ()) -> None:
        self.texts.append(text)
        self.fixes.append(fix)


def diagnose(bundle: str | Path | None = None) -> Diagnosis:
    """Looks at everything, and hashes the bundle."""
    machine = Machine.read(versions())
    packages = {name: _version(name) for name in (*ENGINE_PACKAGES, *CONVERT_PACKAGES)}
    problems = _Problems()
    if reason := unsupported_reason():
        problems.add(reason)
    there = read_cards()
    cards = _try_cards(there)
    engine = Extra.GPU if cards else Extra.CPU
    if all(packages[name] for name in ENGINE_PACKAGES):
        problems.add("onnxruntime and onnxruntime-gpu are both installed and overwrite each other: uninstall both, "
                     "then install omnilmm-lite[cpu] or omnilmm-lite[gpu]", engine_commands(engine))  # fmt: skip
    providers = (_try_device(Device.CPU), _cuda(cards) if cards else _try_device(Device.CUDA))
    works = {provider.device: provider.works for provider in providers}
    if not works[Device.CPU.value]:
        has_engine = any(packages[name] for name in ENGINE_PACKAGES)
        fix = engine_commands(engine) if has_engine else (install_command(engine),)
        problems.add(f"the CPU can't run a graph: {providers[0].detail}", fix)
    arithmetic = _prove(machine) if works[Device.CPU.value] else None
    if arithmetic is not None:
        installed = next((name for name in reversed(ENGINE_PACKAGES) if packages[name]), ENGINE_PACKAGES[0])
        for proof in arithmetic.proofs:
            if not proof.holds:
                problems.add(proof.complaint(), (package_command("--upgrade", installed),))
    if cards and not works[Device.CUDA.value]:
        detail = providers[1].detail
        problems.add(f"there is an NVIDIA card, but it can't be used: {detail}", _fix_of_card(detail, packages))
    name, auto = str(bundle or BUILTIN_NAME), None
    try:
        opened = Bundle.find(bundle)
        opened.verify()
        auto, reason = _auto(opened, cards)
    except OmniLMMError as error:
        reason = str(error)
        problems.add(reason, _fix_of_bundle(bundle))
    driver = Driver(there.driver, _dotted(there.cuda), there.is_wsl, there.reason)
    return Diagnosis(
        machine,
        packages,
        driver,
        cards,
        providers,
        arithmetic,
        name,
        auto,
        reason,
        tuple(problems.texts),
        tuple(problems.fixes),
    )


def _fix_of_card(detail: str, packages: Mapping[str, str | None]) -> tuple[str, ...]:
    """A driver is nothing that Python's packages bring."""
    if packages[ENGINE_PACKAGES[1]] is None:
        return engine_commands(Extra.GPU)
    return (install_command(Extra.GPU),) if GPU_EXTRA in detail else ()


def _fix_of_bundle(bundle: str | Path | None) -> tuple[str, ...]:
    """Where it came from is known of the built-in one and of those that `setup` and `pull` have made."""
    if is_builtin(bundle):
        return (reinstall_command(),)
    store = ModelStore.here()
    for name in store.names():
        with contextlib.suppress(InputError):  # another model's record that can't be read
            model = store.find(name)
            source = model and (model.record.source or model.record.origin)
            if model is not None and source and model.folder == Path(str(bundle)):
                again = "setup" if model.record.source else "pull"
                return tuple(f"omnilmm-lite {words}" for words in (f"models remove {name}", f"{again} {source}"))
    return ()


def _auto(bundle: Bundle, cards: tuple[FoundCard, ...]) -> tuple[str, str]:
    """The device that `auto` takes, and why: one that no graph could be opened on is no device."""
    manifest = bundle.manifest
    context = min(DEFAULT_CONTEXT, manifest.config.decoder.max_position_embeddings)
    choice = choose_device(AUTO, manifest.target, partial(missing_room, bundle, context))
    index = choice.placement.decoder.index
    failed = [each for each in cards if each.card.index == index and not each.works]
    if choice.device is Device.CUDA and failed:
        return Device.CPU.value, f"the bundle is built for CUDA, but {failed[0].detail}"
    return str(choice.placement), choice.reason


def _dotted(version: tuple[int, int] | None) -> str | None:
    return None if version is None else ".".join(map(str, version))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _try_device(device: Device) -> Provider:
    """Makes a session for the built-in resampler: what onnxruntime says about itself isn't believed."""
    try:
        if device is Device.CUDA and (missing := missing_cuda(read_cards())):
            return Provider(device.value, False, missing)
        _open_graph(DeviceId(device))
    except OmniLMMError as error:
        return Provider(device.value, False, str(error))
    return Provider(device.value, True, OPENED)


def _try_cards(there: Cards) -> tuple[FoundCard, ...]:
    """The same on each card that may be able to."""
    try:
        missing = missing_cuda(there)
    except OmniLMMError as error:  # no engine at all
        missing = str(error)
    return tuple(_try_card(card, missing) for card in there.found)


def _try_card(card: Card, missing: str) -> FoundCard:
    reason = missing or unfit_card(import_onnxruntime(), card)
    if not reason:
        try:
            _open_graph(DeviceId(Device.CUDA, card.index))
        except OmniLMMError as error:
            reason = str(error)
    return FoundCard(card, not reason, reason or OPENED)


def _open_graph(where: DeviceId) -> None:
    open_session(BUILTIN / BUILTIN_NAME / "resampler.onnx", where)


def _cuda(cards: tuple[FoundCard, ...]) -> Provider:
    """CUDA works if it does on one card; else what is wrong with the first."""
    chosen = next((each for each in cards if each.works), cards[0])
    return Provider(Device.CUDA.value, chosen.works, chosen.detail)


def _prove(machine: Machine) -> Arithmetic:
    """Takes about a second."""
    proofs = prove_operators()
    runs = not any(proof.failure for proof in proofs)
    return Arithmetic(proofs, saturates(), measure_products(machine.threads) if runs else None)
