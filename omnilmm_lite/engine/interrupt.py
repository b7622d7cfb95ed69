"""Stopping the model from another thread, within milliseconds, whatever it is doing.

A graph of the full model runs for many seconds (a picture on a CPU, a long prompt). Neither Ctrl-C nor a client that
has left can end a call into onnxruntime. Flags of its own can, at which it looks between two operators.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from omnilmm_lite.errors import OmniLMMError

T = TypeVar("T")


class Interrupted(OmniLMMError):
    """What ran was stopped on purpose. The model is as good as new; what the KV cache held before is still there."""


class Interrupt:
    """A switch that any thread may set, once; it stays set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._stop: Callable[[], None] | None = None

    @property
    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        """Ends what runs under this interrupt, and everything that is about to."""
        with self._lock:
            self._is_set = True
            if self._stop is not None:
                self._stop()

    def check(self) -> None:
        """Interrupted, if it is set: for loops that call nothing long."""
        if self._is_set:
            raise Interrupted("stopped")

    @contextlib.contextmanager
    def watching(self, stop: Callable[[], None]) -> Iterator[None]:
        """While the block runs, `set` calls `stop`, which makes the block fail with some OmniLMMError."""
        with self._lock:
            self.check()
            self._stop = stop
        try:
            yield
        except OmniLMMError:
            self.check()  # what a library says of a call that was ended is an error like any other
            raise
        finally:
            with self._lock:
                self._stop = None


_active: ContextVar[Interrupt | None] = ContextVar("active", default=None)


@contextlib.contextmanager
def interruptible(interrupt: Interrupt) -> Iterator[None]:
    """What this thread runs in the block ends with Interrupted once `interrupt` is set."""
    token = _active.set(interrupt)
    try:
        yield
    finally:
        _active.reset(token)


def check_interrupt() -> None:
    """Interrupted, if this thread's interrupt is set: for work that has no call to end, between two of its steps."""
    interrupt = _active.get()
    if interrupt is not None:
        interrupt.check()


def ended_by(stop: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
    """A block that the thread's interrupt, if it has one, ends by calling `stop`."""
    interrupt = _active.get()
    return contextlib.nullcontext() if interrupt is None else interrupt.watching(stop)


def in_background(produce: Callable[[], Iterable[T]]) -> Iterator[T]:
    """`produce`'s items, made in a thread of their own, so that this one stays free for Ctrl-C.

    Leaving the loop, by whatever way, interrupts the thread and waits for its end, a few milliseconds. What it raised
    is raised here.
    """
    interrupt = Interrupt()
    items: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            with interruptible(interrupt):
                for item in produce():
                    items.put((item,))
                    interrupt.check()
            items.put(None)
        except BaseException as error:  # carried over to the thread that waits
            items.put(error)

    thread = threading.Thread(target=work, name="answer", daemon=True)
    thread.start()
    try:
        while (item := _wait(items)) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        interrupt.set()
        thread.join()


@contextlib.contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """`work` runs in a thread of its own beside the block; the end of the block waits for it.

    What `work` raised is raised then. Where the block fails, or the waiting thread is interrupted, so is `work`.
    """
    interrupt = Interrupt()
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            with interruptible(interrupt):
                work()
            done.put(None)
        except BaseException as error:  # carried over to the thread that waits
            done.put(error)

    thread = threading.Thread(target=run, name="meanwhile", daemon=True)
    thread.start()
    try:
        yield
        with ended_by(interrupt.set):
            if (error := _wait(done)) is not None:
                raise error
    finally:
        interrupt.set()
        thread.join()


def _wait(items: queue.SimpleQueue[T]) -> T:
    """The next item. Waits in short turns: on Windows a longer wait would not hear Ctrl-C."""
    while True:
        with contextlib.suppress(queue.Empty):
            return items.get(timeout=0.1)
