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
from typing import Generic, Self, TypeVar

from omnilmm_lite.errors import OmniLMMError

T = TypeVar("T")
TURN_S = 0.1  # of waiting


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


class Background(Generic[T]):
    """`produce`'s items, made in a thread of their own; a context manager, and within it an iterator.

    Leaving the block, by whatever way, interrupts the thread and waits for its end, a few milliseconds. What it raised
    is raised by `next`, which an interrupt of the waiting thread ends, too.
    """

    def __init__(self, produce: Callable[[], Iterable[T]], ahead: int | None = None) -> None:
        """`ahead`: items that are made before anybody asks for them, at most; None makes all that there are."""
        self._produce, self._interrupt = produce, Interrupt()
        self._items: queue.SimpleQueue[tuple[T] | BaseException | None] = queue.SimpleQueue()
        self._room = None if ahead is None else threading.Semaphore(ahead)
        self._thread = threading.Thread(target=self._work, name="background", daemon=True)

    @property
    def has_next(self) -> bool:
        """Whether `next` returns or raises without waiting."""
        return not self._items.empty()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._interrupt.set()
        self._thread.join()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        with ended_by(self._interrupt.set):
            item = _wait(self._items)
        if isinstance(item, tuple):
            if self._room is not None:
                self._room.release()
            return item[0]
        self._items.put(item)  # for who asks once more
        if item is None:
            raise StopIteration
        raise item

    def _work(self) -> None:
        try:
            with interruptible(self._interrupt):
                self._wait_for_room()
                for item in self._produce():
                    self._items.put((item,))
                    self._wait_for_room()
            self._items.put(None)
        except BaseException as error:  # carried over to the thread that waits
            self._items.put(error)

    def _wait_for_room(self) -> None:
        """Interrupted, where nobody wants more."""
        self._interrupt.check()
        while self._room is not None and not self._room.acquire(timeout=TURN_S):
            self._interrupt.check()


def in_background(produce: Callable[[], Iterable[T]]) -> Iterator[T]:
    """`produce`'s items, made in a thread of their own, so that this one stays free for Ctrl-C: see `Background`."""
    with Background(produce) as items:
        yield from items


@contextlib.contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """`work` runs in a thread of its own beside the block; the end of the block waits for it.

    What `work` raised is raised then. Where the block fails, or the waiting thread is interrupted, so is `work`.
    """
    with Background(lambda: iter([work()])) as done:
        yield
        next(done)


def _wait(items: queue.SimpleQueue[T]) -> T:
    """The next item. Waits in short turns: on Windows a longer wait would not hear Ctrl-C."""
    while True:
        with contextlib.suppress(queue.Empty):
            return items.get(timeout=TURN_S)
