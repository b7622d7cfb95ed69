"""Opens a bundle's graphs where they are to run, so that what each needs is there when it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.engine.binding import encode_pictures
from omnilmm_lite.engine.decoder_graphs import DecoderGraphs
from omnilmm_lite.engine.device import open_session
from omnilmm_lite.engine.interrupt import meanwhile
from omnilmm_lite.engine.pages.paging import populate, read_ahead
from omnilmm_lite.engine.placement import Placement
from omnilmm_lite.engine.vision import Encode

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@dataclass(frozen=True)
class GraphOpener:
    """`threads`: for the CPU; None leaves the choice to onnxruntime. `resident`: on the CPU, nothing is mapped and
    nothing takes turns."""

    bundle: Bundle
    placement: Placement
    threads: int | None
    resident: bool = False

    @property
    def takes_turns(self) -> bool:
        """Whether the tower is only there while a picture is encoded. On two cards there is room for both."""
        return self.bundle.manifest.time_shared and not self.placement.is_split and not self.resident

    def session(self, graph: str, *, cuda_graph: bool = False) -> InferenceSession:
        """See `open_session`. Weights that are mapped are in memory then."""
        manifest = self.bundle.manifest
        is_vision = graph in (manifest.graphs.vision, manifest.graphs.resampler)
        where = self.placement.vision if is_vision else self.placement.decoder
        mapped = self._is_mapped(graph)
        session = open_session(
            self.bundle.path(graph),
            where,
            self.threads,
            cuda_graph=cuda_graph,
            mapped=mapped,
            fpa_intb=manifest.packing is Packing.FPA_INTB and not is_vision,
        )
        if mapped:  # before it runs, not beside it: that was measured, too, and took 5 % longer
            populate(self.bundle.weights(graph))
        return session

    def tower(self, decoder: DecoderGraphs) -> Encode:
        """Tower and resampler in one, for which the decoder makes room where the two share it."""
        graphs = self.bundle.manifest.graphs
        if self.takes_turns:
            decoder.release()
        tower, resampler = self.session(graphs.vision), self.session(graphs.resampler)
        encode = partial(encode_pictures, tower, resampler, device=self.placement.vision)
        work = self._beside_tower(decoder)
        return _FirstBeside(encode, work) if work else encode

    def _beside_tower(self, decoder: DecoderGraphs) -> list[Callable[[], None]]:
        """What may as well be done while the first picture is encoded: packing weights keeps one core busy, and reading
        the disk."""
        prompts = self.bundle.manifest.graphs.prefill
        work: list[Callable[[], None]] = []
        if self.takes_turns and decoder.has_prefill_graph:
            work.append(decoder.open_kept)
        if self._is_mapped(prompts):  # but not opened: mapped, they would count beside the tower
            work.append(partial(read_ahead, self.bundle.weights(prompts)))
        return work

    def _is_mapped(self, graph: str) -> bool:
        return graph in self.bundle.manifest.mapped and not self.resident


class _FirstBeside:
    """Encodes pictures; other work is done beside the first one."""

    def __init__(self, encode: Encode, work: list[Callable[[], None]]) -> None:
        self._encode = encode
        self._work = work

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Encode`."""
        if not self._work:
            return self._encode(pixels)
        with meanwhile(self._do_work):
            return self._encode(pixels)

    def _do_work(self) -> None:
        while self._work:
            self._work[0]()
            self._work.pop(0)  # only now: what was interrupted is done beside the next picture
