"""A card that isn't there: tensors that say `cuda:0`, compute on the CPU, and refuse what a real card would refuse.

Unlike torch's FakeTensorMode it has numbers, so code whose next step depends on them runs to its end, and what comes
out can be compared with the CPU's. What it can't tell is how a card rounds, and what a card's kernels take for
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

CARD = torch.device("cuda:0")
MATH = 0  # of SDPBackend: attention as plain products, which is what `TorchDevice.prepare` leaves of a card's choices

aten = torch.ops.aten
PACKED = torch.contiguous_format
COPIES = ("aten::to", "aten::_to_copy", "aten::copy_")  # the only ones that may see both devices

# What asks for the guard of a card, which a CPU's torch has none of, before it comes to an operator.
GUARDED: Mapping[Any, Callable[..., Any]] = {
    Tensor.__invert__: aten.bitwise_not.default,
    Tensor.__float__: lambda each: float(each.held),
    Tensor.__int__: lambda each: int(each.held),
    Tensor.__bool__: lambda each: bool(each.held),
    Tensor.copy_: aten.copy_.default,
    Tensor.contiguous: lambda each: each if each.is_contiguous() else aten.clone.default(each, memory_format=PACKED),
}


class CardTensor(Tensor):
    """Wraps the tensor of the CPU that holds its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> CardTensor:
        made: CardTensor = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=CARD
        )
        made.held = held
        return made

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.__getitem__, Tensor.__setitem__):  # they would ask a CPU's torch for a card's guard
            return _run_indexing(func, args)
        if func in GUARDED:
            return GUARDED[func](*args)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {}, None)


class PretendCard(TorchDispatchMode):
    """While it is active, `cuda` is a device. Counts what lies there, and what crosses between host and card."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}  # by address
        self.peak = self.copied = self.operators = self._total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {}, self)

    def note(self, result: Any) -> None:
        """Takes a result into the sum of what lies on the card."""
        self.operators += 1
        for tensor in _leaves(result):
            if isinstance(tensor, CardTensor):
                storage = tensor.held.untyped_storage()
                if storage.data_ptr() not in self._storages or self._storages[storage.data_ptr()][0].expired():
                    self._storages[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
                    self._total += storage.nbytes()
        if self._total > self.peak:  # perhaps: what was let go of is still counted
            self._storages = {key: value for key, value in self._storages.items() if not value[0].expired()}
            self._total = sum(size for _, size in self._storages.values())
            self.peak = max(self.peak, self._total)


ACTIVE: list[PretendCard] = []


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    return type(value)(_mapped(change, each) for each in value) if type(value) in (tuple, list) else change(value)


def _run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], card: PretendCard | None) -> Any:
    """One operator, on the CPU: what it gives lies where the operator of a real card would have put it."""
    if func is aten._has_compatible_shallow_copy_type.default:
        return False  # a module's parameters are put in place of the old ones, not into them
    leaves = [*_leaves(args), *_leaves([*kwargs.values()])]
    on_card = [each for each in leaves if isinstance(each, CardTensor)]
    # single numbers may come from the host, as torch's own kernels take them
    on_host = [each for each in leaves if isinstance(each, Tensor) and not isinstance(each, CardTensor) and each.ndim]
    if on_card and on_host and func._schema.name not in COPIES:
        raise RuntimeError(f"{func}: one tensor is on the card, another on the CPU")
    if func is aten._fused_sdp_choice.default:
        return MATH
    asked = next((each for each in leaves if isinstance(each, torch.device)), None)
    goes_to_card = bool(on_card) if asked is None else asked.type == "cuda"
    found = func(*_mapped(_on_host, args), **{name: _on_host(value) for name, value in kwargs.items()})
    crosses = func._schema.name in COPIES and (bool(on_card and on_host) or bool(on_card) != goes_to_card)
    if crosses:
        source = args[1] if func is aten.copy_.default else args[0]
        if found.data_ptr() == _on_host(source).data_ptr():
            found = found.clone()
        if card is not None:
            card.copied += source.nbytes
    if func._schema.is_mutable and isinstance(found, Tensor) and on_card:
        result: Any = kwargs.get("out", args[0])  # in place
    else:
        result = _mapped(_on_card, found) if goes_to_card else found
    if card is not None:
        card.note(result)
    return result


def _run_indexing(func: Any, args: Sequence[Any]) -> Any:
    values = [each for each in args[2:] if isinstance(each, Tensor) and each.ndim]
    if not isinstance(args[0], CardTensor) or not all(isinstance(each, CardTensor) for each in values):
        raise RuntimeError(f"{func}: one tensor is on the card, another on the CPU")
    found = _on_card(func(*_mapped(_on_host, tuple(args))))
    for card in ACTIVE:
        card.note(found)
    return found


def _on_card(value: Any) -> Any:
    return CardTensor(value) if isinstance(value, Tensor) else value


def _on_host(value: Any) -> Any:
    if isinstance(value, CardTensor):
        return value.held
    return torch.device("cpu") if isinstance(value, torch.device) else value


@contextmanager
def pretend_card() -> Iterator[PretendCard]:
    """In this block `cuda` can be computed on, in inference mode. Attention is computed as on a card, on the CPU as
    well."""
    card = PretendCard()
    ACTIVE.append(card)
    lifted = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor makes one of the CPU and moves it
    try:
        starting = nullcontext() if torch.cuda.is_available() else patch("torch.cuda._lazy_init", lambda: None)
        with starting, sdpa_kernel(SDPBackend.MATH), card:
            yield card
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)
        ACTIVE.remove(card)


@contextmanager
def with_memory(total: int) -> Iterator[None]:
    """In this block each card has so many bytes, of which none is in use."""
    with (
        patch("torch.cuda.mem_get_info", lambda _: (total, total)),
        patch("torch.cuda.memory_reserved", lambda _: 0),
        patch("torch.cuda.memory_allocated", lambda _: 0),
    ):
        yield
