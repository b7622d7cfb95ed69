"""The log: one JSON object a line on stderr or in a file, without anybody's words or pictures. Tracebacks go to files
of their own."""

from __future__ import annotations

import json
import logging
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from omnilmm_lite.errors import InputError
from omnilmm_lite.files.mistake import mistake, report_mistake

FIELDS = "fields"  # of a record: what stands in the line beside the message
MOST_FILES = 16
OWN = "omnilmm_lite.serve"
# asyncio warns of each piece that is written to a client who has just left, which is no trouble of anybody's.
LEVELS = {
    OWN: logging.INFO,
    "omnilmm_lite.bundle": logging.WARNING,
    "uvicorn": logging.WARNING,
    "asyncio": logging.ERROR,
}


class JsonFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__()
        self._files = 0

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info and (error := record.exc_info[1]) is not None:
            line["mistake"] = self._mistake(error)
        return json.dumps(line, ensure_ascii=False)

    def _mistake(self, error: BaseException) -> str:
        """Whoever can make the server fail over and over mustn't fill the disk."""
        self._files += 1
        return report_mistake(error) if self._files <= MOST_FILES else mistake(error)


@dataclass(frozen=True)
class LogFile:
    """A log that doesn't fill the disk: at `max_bytes` it becomes `PATH.1`, that `PATH.2`, and so on up to `kept`."""

    path: Path
    max_bytes: int
    kept: int

    def handler(self) -> logging.Handler:
        """InputError where nothing can be written there."""
        try:
            return _RotatingHandler(self.path, maxBytes=self.max_bytes, backupCount=self.kept, encoding="utf-8")
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"--log-file: {self.path} can't be written ({reason}); name another file") from None


class _RotatingHandler(RotatingFileHandler):
    """Says on stderr once that lines are lost, where logging itself would print a traceback for each."""

    _has_complained = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._has_complained:
            self._has_complained = True
            error = sys.exc_info()[1]
            print(f"omnilmm-lite: the log can't be written to {self.baseFilename}: {error}", file=sys.stderr)


def set_up(file: LogFile | None = None) -> None:
    """From now on the log goes to stderr, or to `file` in its place. InputError where that can't be written."""
    handler = logging.StreamHandler(sys.stderr) if file is None else file.handler()
    handler.setFormatter(JsonFormatter())
    for name, level in LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
    threading.excepthook = _thread_failed


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is not None:
        logging.getLogger(OWN).error("a thread failed", exc_info=failure.exc_value)


def log_event(event: str, **fields: Any) -> None:
    logging.getLogger(OWN).info(event, extra={FIELDS: fields})
