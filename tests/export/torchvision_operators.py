"""Lets torchvision be imported beside a torch that its compiled half does not fit; timm imports it."""

from __future__ import annotations

import importlib

import torch

# What torchvision's Python half insists on at import; nothing here calls them.
OPERATORS = ("nms", "qnms")


def define() -> None:
    """Declares the operators, unless a matching torchvision has done so."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in OPERATORS:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)


_kept: list[torch.library.Library] = []  # a library that is collected takes its operators with it
