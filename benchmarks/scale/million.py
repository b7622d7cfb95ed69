"""A million pictures on ten cards, computed from docs/gpu.md: `python -m benchmarks.scale.million`.

Nothing is measured. Every input is an option. Prices are S3's list prices in its first region, as far as they are known
here; look them up.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

LISTED_AT_ONCE = 1000  # objects a LIST gives
GET_PRICE, PUT_PRICE = 0.0004 / 1000, 0.005 / 1000  # dollars; LIST costs what PUT does


@dataclass(frozen=True)
class Inputs:
    """`tower_s`, `prompt_s`: of a picture. `resumes`: how often the run is begun again."""

    pictures: int
    cards: int
    tower_s: float
    prompt_s: float
    tokens: int
    tokens_per_s: float
    size: float  # bytes of a picture
    batch: int
    resumes: int


@dataclass(frozen=True)
class Costs:
    picture_s: float
    hours: float
    megabytes_per_s: float  # read by all cards together
    gets: int
    puts: int
    lists: int

    @property
    def dollars(self) -> float:
        return self.gets * GET_PRICE + (self.puts + self.lists) * PUT_PRICE


def compute(inputs: Inputs) -> Costs:
    """A resumed run lists both places again and reads all parts, at worst."""
    picture_s = inputs.tower_s + inputs.prompt_s + inputs.tokens / inputs.tokens_per_s
    speed = inputs.cards / picture_s
    parts = -(-inputs.pictures // inputs.batch)
    lists = (1 + inputs.resumes) * (-(-inputs.pictures // LISTED_AT_ONCE) - (-parts // LISTED_AT_ONCE))
    hours = inputs.pictures / speed / 3600
    # at the end all parts are read once to see that no row is there twice, and at each beginning what is there
    gets = inputs.pictures + parts * (2 + inputs.resumes) + inputs.resumes * inputs.cards * 2 * inputs.batch
    return Costs(picture_s, hours, speed * inputs.size / 1e6, gets, parts + 1, lists)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("pictures", 1_000_000), ("cards", 10), ("tokens", 50), ("batch", 64), ("resumes", 3)):
        parser.add_argument(f"--{name}", type=int, default=value, metavar="N")
    for name, real in (("tower-s", 0.112), ("prompt-s", 0.06), ("size", 200e3)):
        parser.add_argument(f"--{name}", type=float, default=real)
    parser.add_argument("--tokens-per-s", type=float, nargs="+", default=[107.0, 185.0])
    args = vars(parser.parse_args())
    print(
        "| tokens/s | s a picture | hours | MB/s read | GET | PUT | LIST | dollars |\n|---|---|---|---|---|---|---|---|"
    )
    for speed in args.pop("tokens_per_s"):
        found = compute(Inputs(**args, tokens_per_s=speed))
        seconds = f"{speed:.0f} | {found.picture_s:.2f} | {found.hours:.1f} | {found.megabytes_per_s:.1f}"
        requests = f"{found.gets:,} | {found.puts:,} | {found.lists:,} | {found.dollars:.2f}"
        print(f"| {seconds} | {requests} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
