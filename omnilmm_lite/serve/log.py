"""The log: one JSON object a line on stderr, without anybody's words or pictures."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

FIELDS = "fields"  # of a record: what stands in the line beside the message
OWN = "omnilmm_lite.serve"
# asyncio warns of each piece that is written to a client who has just left, which is no trouble of anybody's.
LEVELS = {OWN: logging.INFO, "uvicorn": logging.WARNING, "asyncio": logging.ERROR}


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name, level in LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def log_event(event: str, **fields: Any) -> None:
    logging.getLogger(OWN).info(event, extra={FIELDS: fields})
