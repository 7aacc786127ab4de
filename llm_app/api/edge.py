"""The outermost layer: every response gets a request id and security headers, every failure the error shape."""

import logging
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_app.api.errors import ClientGone, error_response, internal_error, log_failure, quoted
from llm_app.errors import UserError

log = logging.getLogger("llm_app.api")


def content_security_policy(*, on_space: bool) -> str:
    """What the page may load: its own files only, so that no picture in an answer can carry text away.

    Gradio needs inline scripts and styles, and builds functions from strings.
    """
    framing = "'self' https://huggingface.co https://*.hf.space" if on_space else "'self'"
    return "; ".join([
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' blob: data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        f"frame-ancestors {framing}",
    ])


class Edge:
    """Wraps all else. What guards and routes raise becomes an answer here; a bug becomes a 500 without details."""

    def __init__(self, app: ASGIApp, *, on_space: bool = False) -> None:
        self.app = app
        self.security_headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Content-Security-Policy": content_security_policy(on_space=on_space),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens inside."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        started = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in self.security_headers.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except ClientGone as error:
            status = error.status
        except Exception as error:
            refusal = error if isinstance(error, UserError) else internal_error(request_id)
            if isinstance(error.__cause__, ClientGone):
                # Starlette's complaint that its handler was called for after the answer had begun.
                status = error.__cause__.status
            elif refusal is not error:
                log_failure(request_id, error)
            # After the start only silence is left: the server closes the connection, which no reader takes for an end.
            if not status:
                await error_response(refusal)(scope, receive, send_with_headers)
        if scope["path"].startswith("/v1"):
            seconds = time.perf_counter() - started
            log.info("request=%s %s %s %d %.3fs", request_id, scope["method"], quoted(scope["path"]), status, seconds)
