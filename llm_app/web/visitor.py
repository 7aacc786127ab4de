"""Whose page this is: at this machine nobody asks; a public page knows each browser by a secret in its cookie.

A handler that shows or changes what somebody keeps takes `request: gr.Request` and asks `visitor_of`; no form sends
who it is, so no form can send somebody else.
"""

import re
import secrets

import gradio as gr
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_app.config import Settings
from llm_app.jobs.store import RunStore
from llm_app.services import Services
from llm_app.web.failures import SentenceError

COOKIE = "proofbench_visitor"
KEEP_SECONDS = 180 * 86_400
SECRET = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits, as secrets.token_urlsafe writes them


def visitor_of(request: gr.Request, settings: Settings) -> str | None:
    """The secret of the browser that asks; None on a private page, where there is one owner.

    Raises: UserError on a public page if the browser keeps no cookie.
    """
    if not settings.is_public:
        return None
    visitor = secret_in(str(request.headers.get("cookie") or ""))
    if visitor is None:
        raise SentenceError("no_cookie")
    return visitor


def runs_of(request: gr.Request, services: Services) -> RunStore:
    """The runs of whoever asks; its `owner` is also who it is to the queue.

    Raises: UserError on a public page if the browser keeps no cookie.
    """
    return services.runs(visitor_of(request, services.settings))


def secret_in(cookies: str) -> str | None:
    """The visitor's secret in a Cookie header."""
    found = cookie_parser(cookies).get(COOKIE, "")
    return found if SECRET.fullmatch(found) else None


class GiveSecret:
    """Sends a secret along with the page to a browser that has none. No script can read it, no other site gets it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with a cookie if the page was asked for without one."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET" or _has_secret(scope):
            await self._app(scope, receive, send)
            return

        async def send_with_secret(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                headers = MutableHeaders(scope=message)
                headers.append("set-cookie", _cookie(secrets.token_urlsafe(32), is_secure=_is_secure(scope)))
                headers["cache-control"] = "no-store"  # nobody else may be handed this answer
            await send(message)

        await self._app(scope, receive, send_with_secret)


def _has_secret(scope: Scope) -> bool:
    return secret_in("; ".join(Headers(scope=scope).getlist("cookie"))) is not None


def _is_secure(scope: Scope) -> bool:
    return scope.get("scheme") == "https" or Headers(scope=scope).get("x-forwarded-proto") == "https"


def _cookie(secret: str, *, is_secure: bool) -> str:
    # A Space shows its page within a page of another site: there, only such a cookie is kept, apart for that site.
    frame = "Secure; SameSite=None; Partitioned" if is_secure else "SameSite=Lax"
    return f"{COOKIE}={secret}; Max-Age={KEEP_SECONDS}; Path=/; HttpOnly; {frame}"
