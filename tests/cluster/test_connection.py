"""What is said of a cluster that can't be reached, fails, or has not what is asked for."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.cluster.connection import connected
from omnilmm_lite.cluster.shares import Shares, shares
from omnilmm_lite.errors import InputError, OmniLMMError

TRACEBACK = """ray::MapWorker(MapBatches(EvalWorker)).submit() (pid=7, ip=10.0.0.2, actor_id=3, repr=<x object at 0x7>)
  File "site-packages/omnilmm_lite/cluster/delivery.py", line 60, in received
    raise InputError("...")
{error}"""


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    found = SimpleNamespace(is_initialized=lambda: False, init=lambda **how: None, calls=[])
    found.shutdown = lambda: found.calls.append("shutdown")
    monkeypatch.setitem(sys.modules, "ray", found)
    monkeypatch.setitem(sys.modules, "ray.data", SimpleNamespace())
    return found


def failure(module: str, text: str) -> Exception:
    class TaskError(Exception):
        __module__ = module

    return TaskError(text)


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("omnilmm_lite.errors.InputError: b: it is damaged", "--ray: b: it is damaged"),
        ("omnilmm_lite.bundle.schema.SchemaError: b: old", "--ray: b: old"),
        ("omnilmm_lite.picture.decoding_process.DecodingEnded: picture: x", "--ray: picture: x"),
        ("ValueError: of nobody's", "--ray: ValueError: of nobody's; the same command goes on"),
        ("", "--ray: TaskError; the same command goes on"),
    ],
)
def test_what_ray_raises_is_a_line(last: str, said: str, ray: SimpleNamespace) -> None:
    text = TRACEBACK.format(error=last) if last else ""
    with pytest.raises(OmniLMMError) as caught, connected("local"):
        raise failure("ray.exceptions", text)
    assert (str(caught.value), ray.calls) == (said, ["shutdown"])


def test_what_is_ours_stays_as_it_is(ray: SimpleNamespace) -> None:
    with pytest.raises(InputError, match=r"^mine$"), connected("local"):
        raise InputError("mine")
    with pytest.raises(KeyError), connected("local"):
        raise KeyError("a mistake")


def test_an_address_where_nobody_listens_is_refused_at_once(ray: SimpleNamespace) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # bound, and not listening
        with pytest.raises(InputError, match=f"--ray {address}: no cluster answers there"), connected(address):
            pass


def cluster(*nodes: dict[str, float]) -> Any:
    return SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": node} for node in nodes])


def test_shares() -> None:
    tiny = Bundle.find("tiny")
    two = cluster({"CPU": 8}, {"CPU": 4}, {"memory": 1e9})
    assert shares(two, tiny, "auto", None, None) == Shares(2, {"num_cpus": 4})
    assert shares(two, tiny, "cpu", 2, 6) == Shares(6, {"num_cpus": 2})
    cards = cluster({"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 1})
    assert shares(cards, tiny, "cuda", None, None) == Shares(3, {"num_gpus": 1, "num_cpus": 0})
    for nodes, device, threads, said in (
        (two, "cuda", None, "no card"),
        (cards, "cuda:1", None, "a worker has one card"),
        (two, "cpu", 9, "no node has as many; the largest has 8"),
        (cluster({"memory": 1e9}), "cpu", None, "no node of the cluster has a processor"),
    ):
        with pytest.raises(InputError, match=said):
            shares(nodes, tiny, device, threads, None)
