"""The two servers: how each is started, and when it is ready."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx
import numpy as np

from benchmarks.peers.make_gguf import EOS, tensors
from benchmarks.peers.parallel.asking import Task
from omnilmm_lite import __version__
from omnilmm_lite.bundle.manifest import Manifest
from omnilmm_lite.config import DecoderConfig
from omnilmm_lite.errors import InputError

ROOT = Path(__file__).parent.parent.parent.parent
HOST = "127.0.0.1"
READY_S, ENDS_S, ANSWER_S, POLL_S = 300.0, 30.0, 1800.0, 0.1


class Server(Protocol):
    @property
    def name(self) -> str:
        """With its version."""
        ...

    @property
    def eos(self) -> int:
        """The token that ends an answer."""
        ...

    def command(self, port: int, answers: int, task: Task) -> list[str]:
        """Starts it with a slot for each answer, all with the task's room."""
        ...


@dataclass(frozen=True)
class OmniLMMLite:
    """`omnilmm-lite serve`."""

    bundle: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return f"omnilmm-lite {__version__}, {self.manifest.preset}"

    @property
    def eos(self) -> int:
        return self.manifest.config.tokens.eos

    def command(self, port: int, answers: int, task: Task) -> list[str]:
        return [
            sys.executable, "-m", "cli", "serve", "--model", str(self.bundle.resolve()), "--device", "cpu",
            "--host", HOST, "--port", str(port), "--parallel", str(answers), "--context", str(task.room),
            "--threads", str(task.threads),
        ]  # fmt: skip


@dataclass(frozen=True)
class LlamaServer:
    """llama.cpp's, as it comes. `version`: what it says of itself."""

    program: Path
    gguf: Path
    version: str

    @property
    def name(self) -> str:
        return f"llama-server {self.version}, Q4_0"

    @property
    def eos(self) -> int:
        return EOS

    def command(self, port: int, answers: int, task: Task) -> list[str]:
        return [
            str(self.program.resolve()), "--model", str(self.gguf.resolve()), "--host", HOST, "--port", str(port),
            "--parallel", str(answers), "--cont-batching", "--ctx-size", str(answers * task.room),
            "--threads", str(task.threads), "--threads-batch", str(task.threads),
        ]  # fmt: skip


@contextmanager
def running(server: Server, answers: int, task: Task) -> Iterator[httpx.Client]:
    """Starts a server, and ends it. InputError shows the end of what it said where it doesn't get ready."""
    port = _free_port()
    command = server.command(port, answers, task)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        except OSError as error:
            raise InputError(f"{command[0]}: it can't be run: {error.strerror}") from None
        try:
            with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=ANSWER_S, trust_env=False) as http:
                if not _is_ready(process, http):
                    log.seek(0)
                    last = (log.read().strip().splitlines() or ["nothing"])[-1]
                    raise InputError(f"{server.name} doesn't get ready; the last that it said: {last[:200]}")
                yield http
        finally:
            _end(process)


def llama_version(program: Path) -> str:
    """What `--version` says. InputError where it isn't llama-server."""
    try:
        done = subprocess.run([str(program.resolve()), "--version"], capture_output=True, text=True)
    except OSError as error:
        raise InputError(f"--llama-server: {program} can't be run: {error.strerror}") from None
    found = re.search(r"version: (.+)", done.stdout + done.stderr)
    if found is None:
        raise InputError(f"--llama-server: {program} doesn't say its version; name llama.cpp's llama-server")
    return found[1].strip()


def check_shapes(http: httpx.Client, config: DecoderConfig) -> None:
    """InputError where llama-server's model has another number of weights than a decoder of `config`."""
    found = http.get("/v1/models").json()["data"][0]["meta"]["n_params"]
    wanted = sum(int(np.prod(shape)) for _, shape in tensors(config))
    if found != wanted:
        raise InputError(
            f"--gguf: it has {found:,} weights, the bundle's decoder {wanted:,}; make it with make_gguf --layers "
            f"{config.num_hidden_layers}"
        )


def _is_ready(process: subprocess.Popen[bytes], http: httpx.Client) -> bool:
    until = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < until:
        with suppress(httpx.TransportError):
            if http.get("/health", timeout=POLL_S * 10).is_success:
                return True
        time.sleep(POLL_S)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as sock:
        return int(sock.getsockname()[1])
