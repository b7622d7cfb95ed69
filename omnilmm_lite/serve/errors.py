"""What the server says when it doesn't answer, in the shape of OpenAI's API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"
RATE_LIMIT = "rate_limit_error"


@dataclass(eq=False)
class ApiError(Exception):
    """A refusal or a failure. `param` names the field of the request that is meant."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    type: str = INVALID_REQUEST
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Source: OpenAI's API reference, "Errors"."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def short_body(self) -> dict[str, Any]:
        """As Ollama's API says errors."""
        return {"error": self.message}


class ClientLeft(Exception):
    """Nobody listens any more."""


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """The error, with status 400, for a request that can't be answered as it stands."""
    return ApiError(400, message, param, code)


def internal_error() -> ApiError:
    """The error, with status 500, for a mistake of ours; it says nothing of the cause, which stands in the log."""
    return ApiError(500, "the server failed; its log says why", code="internal_error", type=SERVER_ERROR)


def shutting_down() -> ApiError:
    return ApiError(503, "the server is shutting down", code="shutting_down", type=SERVER_ERROR)
