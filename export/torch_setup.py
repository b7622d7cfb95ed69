"""What conversion needs of its environment: the packages, and torch kept to the processor's share."""

from __future__ import annotations

from omnilmm_lite.machine.extras import Extra, missing_package


def check_convert_installed(what: str) -> None:
    """InputError where a package of the extra `convert` is missing; `what` is what needs it."""
    try:
        import onnx  # noqa: F401
        import safetensors  # noqa: F401
        import sentencepiece  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise missing_package(what, error, Extra.CONVERT) from None


def limit_torch_threads() -> None:
    """torch takes a thread for every core that it sees: it knows of no quota, nor of slow cores."""
    import torch

    from omnilmm_lite.machine.threads import default_threads

    threads = default_threads()
    if threads is not None and threads < torch.get_num_threads():
        torch.set_num_threads(threads)
