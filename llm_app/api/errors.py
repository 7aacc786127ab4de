"""Errors as HTTP shows them: one shape, a request id, never an internal detail."""

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from llm_app.errors import UserError
from llm_app.logs import one_line

log = logging.getLogger("llm_app.api")

TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
RETRY_AFTER_SECONDS = {429: 2, 503: 5}


def quoted(text: str, n_characters: int = 500) -> str:
    """Text of a stranger as an error or the log may repeat it: short, escaped, and possible to encode."""
    return one_line(text[:n_characters].encode("utf-8", "backslashreplace").decode())


class HttpError(UserError):
    """A refusal that only makes sense over HTTP, with its status and code."""

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, param=param)
        self.status = status
        self.code = code
        self.headers = headers or {}


class ClientGone(HttpError):
    """Nobody reads the answer any more; the status is for the log only."""

    def __init__(self) -> None:
        super().__init__(499, "client_closed_request", "The client closed the connection.")


def error_body(error: UserError) -> dict[str, Any]:
    """The body of an error in OpenAI's shape."""
    kind = TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


def error_response(error: UserError) -> JSONResponse:
    """Status, body and headers of an error."""
    headers = dict(error.headers) if isinstance(error, HttpError) else {}
    wait = error.retry_after_seconds or RETRY_AFTER_SECONDS.get(error.status)
    if wait is not None:
        headers["Retry-After"] = str(wait)
    return JSONResponse(error_body(error), error.status, headers)


def internal_error(request_id: str) -> HttpError:
    """What a caller learns about a bug of ours: the id that finds it in the log."""
    message = f"Something failed on the server. The log has it under request {request_id}."
    return HttpError(500, "internal_error", message)


def log_failure(request_id: str, error: BaseException) -> None:
    """A bug goes to the log with its traceback, which the formatter keeps on one line."""
    log.error("request=%s failed", request_id, exc_info=error)


async def on_user_error(request: Request, error: Exception) -> JSONResponse:
    """A caller's mistake, or a state that the caller can wait out."""
    assert isinstance(error, UserError)
    request_id = request.state.request_id
    log.info("request=%s refused: %d %s %s", request_id, error.status, error.code, quoted(error.message))
    return error_response(error)


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Unknown paths and methods, answered by the router."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    message = {
        404: "There is nothing at this address.",
        405: f"{quoted(request.method, 20)} is not answered at this address.",
    }.get(error.status_code, quoted(str(error.detail)))
    return error_response(HttpError(error.status_code, code, message, headers=dict(error.headers or {})))


def from_validation(errors: Sequence[ErrorDetails]) -> UserError:
    """The first thing wrong with a body, in one sentence that names the parameter."""
    first = errors[0]
    param = _name(first["loc"])
    if first["type"] == "extra_forbidden":
        return HttpError(400, "unknown_parameter", f"This server does not support the parameter {param}.", param=param)
    if first["type"] == "missing":
        return UserError(f"The parameter {param} is missing.", param=param)
    if first["type"] == "unsupported_content_type":
        return HttpError(400, "unsupported_content_type", first["msg"], param=param)
    return UserError(f"{param}: {first['msg']}.", param=param)


def _name(location: Sequence[int | str]) -> str:
    """messages[0].content, as OpenAI writes it; at most 100 characters, since a caller may have chosen them."""
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{quoted(part)}" if name else quoted(part)
    return name[:100] or "body"
