"""`benchmarks.host_share`: what it binds is what a decoder binds."""

from __future__ import annotations

import onnx

from benchmarks.host_share import CONFIG, empty_graph
from omnilmm_lite.bundle.folder import Bundle


def names(values: object, prefix: str) -> tuple[set[str], int]:
    """Those without the prefix, and how many have it."""
    found = [each.name for each in values]  # type: ignore[attr-defined]
    return {name for name in found if not name.startswith(prefix)}, sum(name.startswith(prefix) for name in found)


def test_the_idle_graph_has_a_decoders_inputs_and_outputs() -> None:
    bundle = Bundle.find(None)
    real = onnx.load(bundle.path(bundle.manifest.graphs.decode), load_external_data=False).graph
    idle = empty_graph().graph
    layers = bundle.manifest.config.decoder.num_hidden_layers
    for which, prefix in (("input", "past."), ("output", "present.")):
        found, many = names(getattr(idle, which), prefix)
        expected, few = names(getattr(real, which), prefix)
        assert found == expected
        assert (many, few) == (2 * CONFIG.num_hidden_layers, 2 * layers)
    assert {f"past.0.{part}" for part in ("key", "value")} <= {each.name for each in real.input}
