"""Whose turn it is: clients take turns, and within a client the one who came first."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Round robin over clients, so that one who sends a hundred requests doesn't keep the others waiting for all."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()  # whose turn is next stands first; none is empty

    def __len__(self) -> int:
        return sum(len(items) for items in self._waiting.values())

    def put(self, client: str, item: T) -> None:
        self._waiting.setdefault(client, deque()).append(item)

    def take(self) -> T:
        """The next item; its client goes to the end of the round. IndexError where nothing waits."""
        if not self._waiting:
            raise IndexError("the queue is empty")
        client, items = self._waiting.popitem(last=False)
        item = items.popleft()
        if items:
            self._waiting[client] = items
        return item

    def peek(self) -> T:
        """The next item, which stays. IndexError where nothing waits."""
        if not self._waiting:
            raise IndexError("the queue is empty")
        return next(iter(self._waiting.values()))[0]

    def remove(self, client: str, item: T) -> bool:
        """Takes an item out; False where it doesn't wait any more."""
        items = self._waiting.get(client)
        if items is None or item not in items:
            return False
        items.remove(item)
        if not items:
            del self._waiting[client]
        return True

    def place(self, client: str, item: T) -> int:
        """How many items are taken up to this one, itself included, if no more come; 0 where it doesn't wait."""
        items = self._waiting.get(client)
        if items is None or item not in items:
            return 0
        rounds = items.index(item)
        clients = list(self._waiting)
        earlier = clients[: clients.index(client)]
        ahead = sum(
            min(len(self._waiting[other]), rounds + 1 if other in earlier else rounds)
            for other in clients
            if other != client
        )
        return ahead + rounds + 1
