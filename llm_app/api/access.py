"""Who is let in: addresses that make sense, hosts on the list, pages of our own, holders of the key."""

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from llm_app.api.errors import HttpError
from llm_app.errors import UserError

MAX_URL_BYTES = 8192
SAFE_METHODS = frozenset({"GET", "HEAD"})
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def host_name(authority: str) -> str:
    """`localhost:7860` -> `localhost`; an IPv6 address keeps its brackets, a trailing dot goes."""
    name = authority.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0].removesuffix(".")


def origin_host(origin: str) -> str:
    """The host of an Origin header; empty for `null`."""
    _, separator, authority = origin.partition("://")
    return host_name(authority) if separator else ""


def client_address(scope: Scope, *, behind_proxy: bool) -> str:
    """Whom a limit counts: behind the Space's proxy the hop that the proxy itself wrote, which is the last one."""
    if behind_proxy:
        forwarded = Headers(scope=scope).getlist("x-forwarded-for")
        if forwarded:
            return forwarded[-1].rpartition(",")[2].strip()[:64]
    client = scope.get("client")
    return client[0] if client else ""


class HostCheck:
    """Refuses hosts that are not on the list and pages of other sites.

    A web site that has its name point to 127.0.0.1 still sends its own name as Host, and a page elsewhere its own
    Origin: neither may talk to a server on the visitor's machine.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], behind_proxy: bool = False) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.behind_proxy = behind_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is in order."""
        if scope["type"] == "http":
            self._check(scope)
        elif scope["type"] == "websocket":
            try:
                self._check(scope)
            except UserError:
                await send({"type": "websocket.close", "code": 1008})
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if host_name(headers.get("host", "")) not in self.hosts:
            raise UserError("This host name is not answered here. Allow it with --allowed-hosts.", param="Host")
        origin = headers.get("origin")
        is_foreign = origin is not None and origin_host(origin) not in self.hosts
        if is_foreign and (scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS):
            raise UserError("Requests from pages of other sites are not answered.", param="Origin")
        if not self.behind_proxy:
            # Gradio builds links from these; without a proxy anybody could have written them.
            scope["headers"] = [item for item in scope["headers"] if not item[0].startswith(b"x-forwarded-")]


class PathCheck:
    """Refuses addresses that two readers could take for different ones."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is in order."""
        if scope["type"] in ("http", "websocket"):
            if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL_BYTES:
                raise HttpError(414, "invalid_request", f"The address is longer than {MAX_URL_BYTES} bytes.")
            if "//" in scope["path"] or _CONTROL.search(scope["path"]):
                raise UserError("The address holds an empty part or a control character.")
        await self.app(scope, receive, send)


class KeyCheck:
    """Asks for the key on all of /v1, in every spelling and for every method; page and health stay open."""

    def __init__(self, app: ASGIApp, *, key: str) -> None:
        self.app = app
        self.digest = hashlib.sha256(key.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is public or carries the key."""
        if scope["type"] in ("http", "websocket") and is_api_path(scope["path"]):
            scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
            # Digests have one length and say nothing about the key, so the comparison cannot leak it by its time.
            given = hashlib.sha256(token.strip().encode("latin-1")).digest()
            if not secrets.compare_digest(given, self.digest) or scheme.lower() != "bearer":
                message = "Send the API key as Authorization: Bearer KEY."
                raise HttpError(401, "invalid_api_key", message, headers={"WWW-Authenticate": "Bearer"})
        await self.app(scope, receive, send)


def is_api_path(path: str) -> bool:
    """Whether any reading of the path leads to /v1."""
    parts = [part for part in re.split(r"[/\\]+", path.lower()) if part not in ("", ".")]
    return "v1" in parts[:2]


class RateLimit:
    """So many API requests a minute for each address, for a public server; the page has limits of its own."""

    max_addresses = 10_000

    def __init__(self, app: ASGIApp, *, per_minute: int, behind_proxy: bool) -> None:
        self.app = app
        self.per_minute = per_minute
        self.behind_proxy = behind_proxy
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address -> (tokens left, when)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is within the limit."""
        if scope["type"] == "http" and is_api_path(scope["path"]):
            self._count(client_address(scope, behind_proxy=self.behind_proxy), time.monotonic())
        await self.app(scope, receive, send)

    def _count(self, address: str, now: float) -> None:
        left, before = self.buckets.pop(address, (float(self.per_minute), now))
        left = min(float(self.per_minute), left + (now - before) * self.per_minute / 60)
        self.buckets[address] = (max(0.0, left - 1), now)
        if len(self.buckets) > self.max_addresses:
            self.buckets.popitem(last=False)
        if left < 1:
            raise HttpError(429, "rate_limited", f"More than {self.per_minute} requests a minute from one address.")


def allowed_hosts(serve_host: str, more: Iterable[str], space_host: str | None) -> list[str]:
    """The values of Host that are answered."""
    names = ["127.0.0.1", "localhost", "[::1]", serve_host, *more, *([space_host] if space_host else [])]
    return [f"[{name}]" if ":" in name and not name.startswith("[") else name for name in names]
