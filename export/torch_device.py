"""Where torch computes during conversion and `quality`, and how much of a card's memory it may take."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch

from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.files.size import shown_size
from omnilmm_lite.machine.card import ORDER, PCI_ORDER


@dataclass(frozen=True)
class TorchDevice:
    """The processor, or one card. Passed down to whatever computes; `prepare` is called once, by the command."""

    device: torch.device = torch.device("cpu")  # noqa: RUF009  # immutable
    vram: int | None = None  # bytes of the card's memory that may be taken; None: all of it

    @classmethod
    def find(cls, name: str, vram: int | None = None) -> Self:
        """`name`: auto, cpu, cuda or cuda:N; auto is the first card that torch sees, else the processor. Cards are
        counted as the runtime counts them, by their places on the bus.

        InputError for another name, for a card that torch doesn't see, and for `vram` without a card.
        """
        match = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name)
        if match is None:
            raise InputError(f"--device: {name!r} is unknown; choose auto, cpu, cuda or cuda:N")
        if name == "cpu" and vram is not None:
            raise InputError("--vram: it caps a card's memory, and --device cpu takes no card; leave one of them out")
        os.environ.setdefault(ORDER, PCI_ORDER)  # CUDA itself would put the fastest first
        if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return cls()
        number = int(match[1] or 0)
        if name != "auto":
            _check_seen(name, number)
        return cls(torch.device("cuda", number), vram)

    @property
    def is_card(self) -> bool:
        return self.device.type == "cuda"

    def prepare(self) -> None:
        """Makes torch compute in whole fp32 on the card, by the same kernels each time, within `vram`.

        Without it, torch's convolutions round their inputs to TF32's 10 bits. Attention is plain products: the fused
        kernel multiplies fp32 in three TF32 parts. The processor needs none of it.
        """
        if not self.is_card:
            return
        torch.backends.fp32_precision = "ieee"  # type: ignore[attr-defined]  # of products and convolutions
        torch.backends.cudnn.deterministic = True
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        torch.backends.cuda.enable_cudnn_sdp(False)
        if self.vram is not None:
            _, total = torch.cuda.mem_get_info(self.device)
            torch.cuda.set_per_process_memory_fraction(min(1.0, self.vram / total), self.device)

    def free_bytes(self) -> int:
        """What may still be taken of the card's memory; of the processor's, nothing that a card would be asked for."""
        if not self.is_card:
            return 0
        free, total = torch.cuda.mem_get_info(self.device)
        reserved = torch.cuda.memory_reserved(self.device)  # ours already, whether in use or not
        used = torch.cuda.memory_allocated(self.device)
        return min(free + reserved, total if self.vram is None else self.vram) - used

    def check_room(self, needed: int, purpose: str) -> None:
        """OmniLMMError where the card has, or `vram` leaves, less than `needed` bytes; the processor always passes."""
        if not self.is_card or (free := self.free_bytes()) >= needed:
            return
        given = "are free there" if self.vram is None else f"are left of --vram {shown_size(self.vram)}"
        raise OmniLMMError(
            f"{self.device}: {purpose} takes {shown_size(needed)} of the card's memory at most, and {shown_size(free)} "
            f"{given}: make room, give more, or take --device cpu"
        )

    @contextmanager
    def full_memory_said(self, doing: str) -> Iterator[None]:
        """Turns a card's full memory inside the block into an OmniLMMError; `doing`: what the block does."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            used = torch.cuda.max_memory_allocated(self.device)
            _, total = torch.cuda.mem_get_info(self.device)
            cap = total if self.vram is None else min(total, self.vram)
            raise OmniLMMError(
                f"{self.device}: its memory is full at {doing}: {shown_size(used)} in use at most, {shown_size(cap)} "
                "allowed; what is finished is kept: end what else uses the card, raise --vram, or give the same "
                "command with --device cpu"
            ) from error


def _check_seen(name: str, number: int) -> None:
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        if number >= count:
            raise InputError(f"--device {name}: torch sees cards up to cuda:{count - 1}; name one of those")
        return
    version = torch.__version__
    if torch.version.cuda is None and torch.version.hip is None:
        raise InputError(
            f"--device {name}: torch {version} is built for the CPU alone; install its build for CUDA, which "
            "pytorch.org's page on installing names for your system, or take --device cpu"
        )
    raise InputError(
        f"--device {name}: torch {version} sees no card; look whether `nvidia-smi` does, or take --device cpu"
    )
