"""How many answers run at once: what was asked for, or what gives the most tokens a second here."""

from __future__ import annotations

import statistics

STEPS = 16  # of each number, of which the median counts: the first ones touch memory that nobody has used yet
NEARLY = 0.95  # of the most: fewer answers at once then, which leave memory and the rest of the machine alone


class Width:
    """`limit` at once, up to `slots`.

    Where it is measured, it begins with one, goes on to two, four and so on once steps of each were run, and stays with
    the best: a matter of the first minute.
    """

    def __init__(self, slots: int, *, is_measured: bool) -> None:
        self.limit = 1 if is_measured else slots
        self.tokens_per_s: dict[int, float] = {}  # of all answers together, by their number
        self._slots, self._is_settled = slots, not is_measured or slots == 1  # of which nothing is to be told
        self._rates: list[float] = []  # tokens a second of steps of about `limit` answers

    @property
    def told(self) -> str:
        """What was measured, and chosen; empty where nothing was."""
        if not self._is_settled or not self.tokens_per_s:
            return ""
        rates = ", ".join(f"{answers}: {rate:,.0f}" for answers, rate in self.tokens_per_s.items())
        return f"answers at once: {self.limit} (tokens a second by their number: {rates})"

    def note(self, answers: int, seconds: float) -> None:
        """A step that gave so many answers a token took so long."""
        if self._is_settled or not self.limit // 2 < answers <= self.limit:  # one of them is often a prompt yet
            return
        self._rates.append(answers / seconds)
        if len(self._rates) == STEPS:
            self.tokens_per_s[self.limit] = statistics.median(self._rates)
            self._rates.clear()
            self._go_on()

    def settle(self, limit: int) -> None:
        """Stays with so many: more were tried, and can't be."""
        self.limit, self._is_settled = limit, True

    def _go_on(self) -> None:
        best = max(self.tokens_per_s.values())
        if self.limit < self._slots and self.tokens_per_s[self.limit] >= NEARLY * best:
            self.limit = min(2 * self.limit, self._slots)
            return
        self.limit = next(answers for answers, rate in self.tokens_per_s.items() if rate >= NEARLY * best)
        self._is_settled = True
