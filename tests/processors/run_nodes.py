"""In a process of its own: a graph on given inputs, weights packed and as they lie. Arguments: GRAPH IN.npz OUT.npz"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.device import open_session


def main(graph: str, feeds: str, out: str) -> None:
    found: dict[str, Any] = {}
    with np.load(feeds) as arrays:
        for mapped in (False, True):
            session = open_session(Path(graph), Device.CPU, threads=1, mapped=mapped)
            names = [output.name for output in session.get_outputs()]
            values = session.run(names, {each.name: arrays[each.name] for each in session.get_inputs()})
            found |= {f"{name}.{mapped}": value for name, value in zip(names, values, strict=True)}
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
