"""Several answers at once, `omnilmm-lite serve --parallel N` against `llama-server --parallel N`, in turns.

    python3.11 -m venv peers && peers/bin/pip install -r benchmarks/peers/requirements.txt
    peers/bin/python -m benchmarks.peers.make_gguf --layers LAYERS --out FILE.gguf
    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36 && tar xzf llama_cpp_python-0.3.36.tar.gz
    cmake -S llama_cpp_python-0.3.36/vendor/llama.cpp -B build -DCMAKE_BUILD_TYPE=Release -DLLAMA_OPENSSL=OFF \\
        -DLLAMA_USE_PREBUILT_UI=OFF
    cmake --build build --target llama-server -j2
    python -m benchmarks.peers.parallel --bundle BUNDLE --gguf FILE.gguf --llama-server build/bin/llama-server

Both are asked the same over HTTP. In every round, for each number of answers, each server gets a process of its own,
one after another: it loads, warms up with the very shapes that are timed, measures once and ends. Where other programs
computed meanwhile it is done again. The JSON is printed last; progress and the table go to standard error.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.parallel.asking import Asker, Measurement, Task
from benchmarks.peers.parallel.disturbance import Clock, wait_until_quiet
from benchmarks.peers.parallel.server import LlamaServer, OmniLMMLite, Server, check_shapes, llama_version, running
from benchmarks.peers.parallel.table import Round, markdown, summarize
from omnilmm_lite.bundle.folder import Bundle
from omnilmm_lite.engine.versions import versions
from omnilmm_lite.errors import InputError, OmniLMMError
from omnilmm_lite.machine.processor import instruction_sets, processor_name

ANSWERS, ROUNDS = (1, 2, 4, 8), 5
OTHERS = 0.1  # processors that other programs may keep busy meanwhile
USAGE = 2


def main() -> int:
    """The exit code: 2 where a server can't be run, or answers something else."""
    args = build_parser().parse_args()
    try:
        compare(args)
    except OmniLMMError as error:
        print(f"benchmarks.peers.parallel: {error}", file=sys.stderr)
        return USAGE
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="made by convert, for the CPU")
    parser.add_argument("--llama-server", type=Path, required=True, metavar="PROGRAM")
    parser.add_argument("--gguf", type=Path, required=True, metavar="FILE", help="made by make_gguf, as many layers")
    parser.add_argument("--answers", type=_counts, default=ANSWERS, metavar="N,N", help="at once (1,2,4,8)")
    parser.add_argument("--rounds", type=_count, default=ROUNDS, metavar="N", help=f"({ROUNDS})")
    for name, value in dataclasses.asdict(Task()).items():
        parser.add_argument(f"--{name}", type=_count, default=value, metavar="N", help=f"({value})")
    return parser


def compare(args: argparse.Namespace) -> None:
    """All rounds; the JSON, and the table."""
    bundle = Bundle.open(args.bundle)
    decoder = bundle.manifest.config.decoder
    if not args.gguf.is_file():
        layers = f"make_gguf --layers {decoder.num_hidden_layers}"
        raise InputError(f"--gguf: there is no file {args.gguf}; make it with {layers}")
    ours = OmniLMMLite(args.bundle, bundle.manifest)
    theirs = LlamaServer(args.llama_server, args.gguf, llama_version(args.llama_server))
    task = Task(args.prompt, args.tokens, args.newcomer, args.threads)
    with running(theirs, 1, task) as http:
        check_shapes(http, decoder)
    rounds = run_rounds(ours, theirs, sorted({1, *args.answers}), task, decoder.vocab_size, args.rounds)
    lines = summarize(rounds)
    processor = f"{processor_name()} ({', '.join(instruction_sets()) or 'instruction sets unknown'})"
    print(markdown(lines, task, args.rounds, (ours.name, theirs.name), processor), file=sys.stderr)
    found = {
        "task": dataclasses.asdict(task),
        "processor": processor,
        "versions": versions(),
        "summary": [dataclasses.asdict(line) for line in lines],
        "rounds": [[[dataclasses.asdict(each) for each in pair] for pair in pairs] for pairs in rounds],
    }
    print(json.dumps(found))


def run_rounds(
    ours: Server, theirs: Server, counts: Sequence[int], task: Task, vocab_size: int, repeat: int
) -> list[Round]:
    """In every round, each number of answers once with each server, in turn."""
    rounds: list[Round] = []
    for number in range(1, repeat + 1):
        pairs = []
        for count in counts:
            pair = [measure(server, count, task, vocab_size) for server in (ours, theirs)]
            for found in pair:
                print(
                    f"round {number}/{repeat}, {count} at once, {found.engine}: {found.tokens_per_s:.1f} tok/s, "
                    f"first token of the last to come {found.first_token_s * 1000:.0f} ms",
                    file=sys.stderr,
                    flush=True,
                )
            pairs.append((pair[0], pair[1]))
        rounds.append(pairs)
    return rounds


def measure(server: Server, answers: int, task: Task, vocab_size: int) -> Measurement:
    """By a process of its own, as often as it takes to have the machine to itself."""
    while True:
        wait_until_quiet(OTHERS)
        before = Clock.read()
        with running(server, answers, task) as http:
            found = Asker(http, task, answers, vocab_size, server.eos).measure(server.name)
        if (others := Clock.read().others(before)) <= OTHERS:
            return found
        print(f"other programs kept {others:.2f} processors busy; once more", file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of 1 or more")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(each) for each in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
