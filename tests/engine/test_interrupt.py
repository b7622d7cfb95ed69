"""Ending what runs from another thread, and what runs after that."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from omnilmm_lite import load
from omnilmm_lite.bundle.target import Device
from omnilmm_lite.engine.decoder import PREFILL_CHUNK
from omnilmm_lite.engine.device import open_session, run_graph
from omnilmm_lite.engine.interrupt import (
    Background,
    Interrupt,
    Interrupted,
    ended_by,
    in_background,
    interruptible,
    meanwhile,
)
from omnilmm_lite.errors import InputError

if TYPE_CHECKING:
    import onnxruntime

PATIENCE = 30  # seconds after which a test gives up; nothing is expected to take them
SIDE = 64
LONG = 100_000_000  # turns: minutes


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    """A loop of `turns` products with a matrix that swaps the sides of x (64, 64): an odd count flips it."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["flip", "x_in"], ["x_out"]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_in", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_out", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body)],
        "long",
        [
            helper.make_tensor_value_info("turns", TensorProto.INT64, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [SIDE, SIDE]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [SIDE, SIDE])],
        [numpy_helper.from_array(np.eye(SIDE, dtype=np.float32)[::-1].copy(), "flip")],
    )
    path = tmp_path_factory.mktemp("graphs") / "long.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return open_session(path, Device.CPU, threads=1)


def flipped(session: onnxruntime.InferenceSession, turns: int, x: NDArray[np.float32]) -> NDArray[np.float32]:
    binding = session.io_binding()
    binding.bind_cpu_input("turns", np.asarray(turns, np.int64))
    binding.bind_cpu_input("x", x)
    binding.bind_output("y", "cpu")
    run_graph(session, binding, "long graph")
    y: NDArray[np.float32] = binding.get_outputs()[0].numpy()
    return y


def later(action: threading.Timer) -> threading.Timer:
    action.start()
    return action


@pytest.fixture
def x() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)


def test_a_running_graph_is_ended_and_the_next_run_is_right(
    session: onnxruntime.InferenceSession, x: NDArray[np.float32]
) -> None:
    interrupt = Interrupt()
    timer = later(threading.Timer(0.2, interrupt.set))
    with interruptible(interrupt), pytest.raises(Interrupted):
        flipped(session, LONG, x)  # were it not ended, this would take minutes
    timer.join()
    np.testing.assert_array_equal(flipped(session, 3, x), x[::-1])
    np.testing.assert_array_equal(flipped(session, 4, x), x)


def test_what_is_set_before_ends_a_run_before_it_begins(
    session: onnxruntime.InferenceSession, x: NDArray[np.float32]
) -> None:
    interrupt = Interrupt()
    interrupt.set()
    interrupt.set()  # a second time does no harm
    assert interrupt.is_set
    with interruptible(interrupt):
        for _ in range(2):  # it stays set
            with pytest.raises(Interrupted):
                flipped(session, LONG, x)
    np.testing.assert_array_equal(flipped(session, 1, x), x[::-1])  # outside the block it means nothing


def test_only_the_thread_in_the_block_is_ended(session: onnxruntime.InferenceSession, x: NDArray[np.float32]) -> None:
    interrupt = Interrupt()
    results: list[NDArray[np.float32]] = []
    other = threading.Thread(target=lambda: results.append(flipped(session, 20_001, x)))
    other.start()
    timer = later(threading.Timer(0.05, interrupt.set))
    with interruptible(interrupt), pytest.raises(Interrupted):
        flipped(session, LONG, x)
    timer.join()
    other.join(PATIENCE)
    np.testing.assert_array_equal(results[0], x[::-1])


def test_the_innermost_block_counts() -> None:
    outer, inner = Interrupt(), Interrupt()
    stopped: list[str] = []
    with interruptible(outer):
        outer.set()
        with interruptible(inner), ended_by(lambda: stopped.append("inner")):
            inner.set()
        assert stopped == ["inner"]
        with pytest.raises(Interrupted), ended_by(lambda: stopped.append("outer")):
            pytest.fail("the block was entered")


def test_an_error_of_its_own_is_no_interruption() -> None:
    interrupt = Interrupt()
    with pytest.raises(InputError, match="mine"), interrupt.watching(lambda: None):
        raise InputError("mine")
    interrupt.check()


def test_setting_after_a_run_stops_nothing() -> None:
    interrupt, calls = Interrupt(), []
    with interrupt.watching(lambda: calls.append(1)):
        pass
    interrupt.set()
    assert not calls
    with pytest.raises(Interrupted):
        interrupt.check()


# ---- in_background ----


def threads_named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_items_come_in_order_from_another_thread() -> None:
    def produce() -> Iterator[tuple[int, int]]:
        for number in range(1000):
            yield number, threading.get_ident()

    items = list(in_background(produce))
    assert [number for number, _ in items] == list(range(1000))
    assert {thread for _, thread in items}.isdisjoint({threading.get_ident()})


def test_none_and_exceptions_are_items_like_others() -> None:
    error = ValueError("an item")
    assert list(in_background(lambda: [None, error, None])) == [None, error, None]
    assert list(in_background(lambda: ())) == []


@pytest.mark.parametrize("error", [InputError("mine"), KeyError("k"), MemoryError(), KeyboardInterrupt()])
def test_what_the_thread_raises_comes_after_its_items(error: BaseException) -> None:
    def produce() -> Iterator[int]:
        yield 1
        raise error

    items = in_background(produce)
    assert next(items) == 1
    with pytest.raises(type(error)) as caught:
        next(items)
    assert caught.value is error
    assert not threads_named("background")


def test_leaving_early_ends_a_running_graph(session: onnxruntime.InferenceSession, x: NDArray[np.float32]) -> None:
    closed = threading.Event()

    def produce() -> Iterator[int]:
        try:
            yield 1
            flipped(session, LONG, x)
        finally:
            closed.set()

    for item in in_background(produce):
        assert item == 1
        break
    assert closed.wait(PATIENCE)
    assert not threads_named("background")
    np.testing.assert_array_equal(flipped(session, 2, x), x)


def test_leaving_early_ends_an_endless_producer_that_runs_no_graph() -> None:
    closed = threading.Event()

    def produce() -> Iterator[int]:
        try:
            while True:
                time.sleep(0.001)
                yield 1
        finally:
            closed.set()

    items = in_background(produce)
    next(items)
    del items
    assert closed.wait(PATIENCE)


def test_ctrl_c_is_heard_while_a_graph_runs(session: onnxruntime.InferenceSession, x: NDArray[np.float32]) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        timer = later(threading.Timer(0.3, _thread.interrupt_main))
        with pytest.raises(KeyboardInterrupt):
            list(in_background(lambda: [flipped(session, LONG, x)]))
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert not threads_named("background")


def test_an_iterator_that_nobody_began_starts_no_thread() -> None:
    in_background(lambda: [1])
    assert not threads_named("background")


# ---- the model after it ----


# ---- beside each other ----


def test_work_beside_a_block_runs_in_another_thread_and_is_done_at_its_end() -> None:
    threads: list[int] = []
    in_block = threading.Event()

    def work() -> None:
        assert in_block.wait(PATIENCE)  # so the block is not kept waiting for it
        threads.append(threading.get_ident())

    with meanwhile(work):
        in_block.set()
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
    assert not threads_named("background")


def test_what_the_work_raises_comes_at_the_end_of_the_block() -> None:
    block: list[str] = []

    def work() -> None:
        raise InputError("no such file")

    with pytest.raises(InputError, match="no such file"), meanwhile(work):
        block.append("over")
    assert block == ["over"]


def test_a_block_that_fails_ends_the_work(session: onnxruntime.InferenceSession, x: NDArray[np.float32]) -> None:
    with pytest.raises(KeyError), meanwhile(lambda: flipped(session, LONG, x)):
        raise KeyError
    assert not threads_named("background")


def test_an_interrupt_while_the_block_waits_for_the_work_ends_both(
    session: onnxruntime.InferenceSession, x: NDArray[np.float32]
) -> None:
    interrupt = Interrupt()
    timer = later(threading.Timer(0.2, interrupt.set))
    with interruptible(interrupt), pytest.raises(Interrupted), meanwhile(lambda: flipped(session, LONG, x)):
        pass
    timer.join()
    assert not threads_named("background")


def test_an_interrupted_prefill_leaves_the_model_as_good_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    image = "examples/pictures/cat.png"
    # longer than a chunk: the first is in the cache when the second is ended
    question = " ".join(["What is this?"] * (PREFILL_CHUNK // 4))
    fresh = load(threads=1)
    wanted = fresh.chat(image).ask(question, greedy=True, max_new_tokens=20)
    then = fresh.chat(image).ask("What is this?", greedy=True)

    model = load(threads=1)
    interrupt = Interrupt()
    decoder = model.text.decoder
    run, runs = decoder._run, []

    def counted(*args: object, **rest: object) -> NDArray[np.float32]:
        runs.append(decoder.length)
        if len(runs) == 2:
            interrupt.set()
        return run(*args, **rest)  # type: ignore[arg-type]

    chat = model.chat(image)
    with monkeypatch.context() as patch, interruptible(interrupt):
        patch.setattr(decoder, "_run", counted)
        with pytest.raises(Interrupted):
            chat.ask(question, greedy=True)
    assert runs == [0, PREFILL_CHUNK]
    assert decoder.length == PREFILL_CHUNK  # kept, and of use
    assert chat.messages == []
    assert chat.ask(question, greedy=True, max_new_tokens=20) == wanted
    assert model.chat(image).ask("What is this?", greedy=True) == then


def test_an_interrupted_picture_is_not_remembered() -> None:
    model, interrupt = load(threads=1), Interrupt()
    interrupt.set()
    with interruptible(interrupt), pytest.raises(Interrupted):
        model.encode_image("examples/pictures/cat.png")
    features = model.encode_image("examples/pictures/cat.png")
    np.testing.assert_array_equal(features, load(threads=1).encode_image("examples/pictures/cat.png"))


def test_no_more_is_made_ahead_than_asked_for() -> None:
    made: list[int] = []
    third = threading.Event()

    def produce() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 2:
                third.set()
            yield number

    with Background(produce, ahead=2) as items:
        assert not third.wait(0.3)
        assert made == [0, 1]
        assert next(items) == 0
        assert third.wait(PATIENCE)
        assert [*items] == [*range(1, 10)]
        assert [*items] == []  # and it has an end for who asks once more
    assert not threads_named("background")


def test_whether_there_is_a_next_is_known_without_waiting() -> None:
    go = threading.Event()

    def produce() -> Iterator[int]:
        yield 1
        go.wait(PATIENCE)
        raise InputError("no more")

    with Background(produce) as items:
        assert next(items) == 1
        assert not items.has_next
        go.set()
        for _ in range(2):
            with pytest.raises(InputError, match="no more"):
                next(items)
        assert items.has_next


def test_who_waits_for_an_item_can_be_interrupted_and_ends_what_makes_it() -> None:
    outer = Interrupt()
    ended = threading.Event()

    def produce() -> Iterator[int]:
        inner = threading.Event()
        with ended_by(inner.set):
            inner.wait(PATIENCE)
            ended.set()
            if ended.is_set():
                raise InputError("ended")
        yield 1

    with interruptible(outer), Background(produce) as items:
        timer = later(threading.Timer(0.1, outer.set))
        with pytest.raises(Interrupted):
            next(items)
        timer.join()
    assert ended.is_set()
