"""The fast kernels are asked for by a card's bundle that is packed for them, for its decoder alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.bundle.packing import Packing
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.graph_opener import GraphOpener
from omnilmm_lite.engine.placement import Placement
from tests.engine.fake_onnxruntime import CPU, CUDA
from tests.engine.fake_onnxruntime import install as install

ENTRY = "ep.cuda.fpa_intb_gemm"  # as onnxruntime's sources spell it


@pytest.mark.parametrize("packing", Packing)
@pytest.mark.parametrize("device", Device)
def test_the_decoders_sessions_alone_ask_for_them(
    install: Any, tiny_bundle: Path, packing: Packing, device: Device
) -> None:
    bundle = Bundle.open(tiny_bundle)
    manifest = dataclasses.replace(bundle.manifest, packing=packing)
    opener = GraphOpener(Bundle(tiny_bundle, manifest), Placement.on(device), 1)
    found = {}
    for graph in (manifest.graphs.vision, manifest.graphs.resampler, manifest.graphs.decode):
        ort = install([CUDA, CPU], used=[CUDA, CPU] if device is Device.CUDA else [CPU])
        opener.session(graph)
        found[graph] = ort.arguments["options"].entries.get(ENTRY)
    fast = "1" if packing is Packing.FPA_INTB and device is Device.CUDA else None
    assert found == {"vision.onnx": None, "resampler.onnx": None, "decoder.onnx": fast}
