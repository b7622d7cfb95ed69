"""OmniLMM-12B on one desktop: a light runtime over onnxruntime.

from omnilmm_lite import load
chat = load("bundle").chat(image="cat.jpg")
print(chat.ask("What is this?", greedy=True))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omnilmm_lite.version import __version__

if TYPE_CHECKING:
    from omnilmm_lite.caption.scale.captioner import Captioner
    from omnilmm_lite.model import Model, load

__all__ = ["Captioner", "Model", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Loads the engine at first use, so that importing a submodule, or `--help`, doesn't."""
    if name in ("Model", "load"):
        from omnilmm_lite import model

        return getattr(model, name)
    if name == "Captioner":
        from omnilmm_lite.caption.scale.captioner import Captioner

        return Captioner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
