"""Turns, by simulation: a place is how many takes it needs, whatever waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnilmm_lite.serve.fair_queue import FairQueue

CLIENTS = st.lists(st.sampled_from("abcd"), max_size=20)


def filled(clients: list[str]) -> FairQueue[int]:
    queue: FairQueue[int] = FairQueue()
    for item, client in enumerate(clients):
        queue.put(client, item)
    return queue


def test_clients_take_turns_and_keep_their_own_order() -> None:
    queue = filled(["a", "a", "a", "b", "c", "b"])
    assert [queue.take() for _ in range(6)] == [0, 3, 4, 1, 5, 2]
    with pytest.raises(IndexError):
        queue.take()


@given(CLIENTS, st.integers(0, 5))
def test_a_place_is_the_number_of_takes(clients: list[str], taken: int) -> None:
    queue = filled(clients)
    for _ in range(min(taken, len(clients))):
        queue.take()
    places = {item: queue.place(client, item) for item, client in enumerate(clients)}
    order = [queue.take() for _ in range(len(queue))]
    assert [places[item] for item in order] == list(range(1, len(order) + 1))
    assert all(places[item] == 0 for item in places if item not in order)


@given(CLIENTS, st.data())
def test_what_is_removed_is_gone_and_nothing_else(clients: list[str], data: st.DataObject) -> None:
    queue = filled(clients)
    removed = data.draw(st.sets(st.integers(0, len(clients) - 1))) if clients else set()
    assert all(queue.remove(clients[item], item) for item in removed)
    assert not any(queue.remove(clients[item], item) for item in removed)
    assert len(queue) == len(clients) - len(removed)
    assert {queue.take() for _ in range(len(queue))} == set(range(len(clients))) - removed
