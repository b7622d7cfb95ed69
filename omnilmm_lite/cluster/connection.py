"""Ray, connected for as long as a run takes, and what it raises in a line."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from omnilmm_lite.errors import InputError, OmniLMMError

LOCAL = "local"  # in place of an address: a cluster of this machine's own, which ends with the run
PATIENCE_S = 24 * 3600  # a batch of a large model on a slow processor takes hours, and Ray Data would give up
ANSWER_S = 10.0
_OURS = re.compile(r"\bomnilmm_lite(?:\.\w+)+: (.+)")  # as a traceback ends with one of our errors


def check_installed() -> None:
    """InputError where Ray isn't."""
    if find_spec("ray") is None:
        raise InputError("--ray needs the package ray: run `pip install 'omnilmm-lite[ray]'`")


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, with a cluster of our own, or the one at `address`. Nothing is reported to anybody. InputError where none
    answers; in the block, OmniLMMError of one line for whatever Ray raises."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # type: ignore[import-not-found,unused-ignore]
    import ray.data  # type: ignore[import-not-found,unused-ignore]  # noqa: F401  # now: it sets its log up

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its errors come as exceptions, too
    if ray.is_initialized():  # by whoever has called us
        with _told():
            yield ray
        return
    _check_address(address)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address == LOCAL:
            ray.init(address=LOCAL, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"--ray {address}: no cluster answers there: {_last_line(error)}") from None
    try:
        with _told():
            yield ray
    finally:
        ray.shutdown()


def prepare_data(ray: Any) -> None:
    """Ray Data without bars of its own, and patient."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = PATIENCE_S


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("ray."):
            raise
        if found := _OURS.findall(str(error)):  # what a worker said, at the end of its traceback
            raise OmniLMMError(f"--ray: {found[-1]}") from None
        raise OmniLMMError(f"--ray: {_last_line(error)}; the same command goes on") from None


def _check_address(address: str) -> None:
    """InputError where nobody listens: Ray itself would try for minutes, and print all the while."""
    found = re.fullmatch(r"([^/]+):([0-9]{1,9})", address)
    if found is None:
        return  # Ray knows others, such as auto
    try:
        socket.create_connection((found[1].strip("[]"), int(found[2])), ANSWER_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"--ray {address}: no cluster answers there: {why}; check the address") from None


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
