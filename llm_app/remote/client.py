"""One server, asked over HTTP: every answer bounded, every fault one sentence, everything cancellable."""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

import httpx

from llm_app.errors import ModelLoading, RemoteFailed
from llm_app.remote.address import KEY

T = TypeVar("T")

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 300.0  # a slow machine may read a long prompt for so long before it says anything
MAX_ANSWER_BYTES = 32 * 2**20
MAX_STREAM_BYTES = 128 * 2**20  # the longest reply, one event for each token
MAX_LINE_BYTES = 2**20
MAX_SAID = 300  # characters of what a server says about an error
MAX_RETRY_SECONDS = 3600


class RemoteRefused(RemoteFailed):
    """The server does not take this request; it may take another."""


class RemoteMissing(RemoteFailed):
    """The server has no such route, or no such model."""


class RemoteBusy(RemoteFailed):
    """The server could not answer now; asked again, it may."""


class RemoteUnreachable(RemoteBusy):
    """There is no server, or the connection to it broke off."""


class Client:
    """A server and its key. Its coroutines run on one event loop in a thread of its own; `close` ends them all."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url
        self._key = key
        headers = {"Accept-Encoding": "identity", "User-Agent": "proofbench"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        # Neither redirects nor proxies nor .netrc: nothing goes anywhere but to the address that a person gave.
        self._http = httpx.AsyncClient(
            headers=headers, follow_redirects=False, trust_env=False, verify=ssl.create_default_context(),
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS, pool=None),
        )
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()  # nothing is started on a loop that is being closed
        self._is_closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="remote", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether it can still be asked."""
        return not self._is_closed

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the client's loop; cancelling the future closes its connection.

        Raises: ModelLoading if the client is closed.
        """
        with self._lock:
            if self._is_closed:
                work.close()
                raise ModelLoading(f"The model at {self.url} was unloaded. Load it again.")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self, grace_seconds: float = 0.0) -> None:
        """Let what is under way end for so long, then end it; whoever waits for it gets CancelledError."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        asyncio.run_coroutine_threadsafe(self._end(grace_seconds), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request, one JSON object.

        Raises: RemoteFailed; RemoteRefused, RemoteBusy and RemoteUnreachable where they fit.
        """
        async with self._answered(method, path, body) as response:
            parts = [part async for part in self._bounded(response, MAX_ANSWER_BYTES)]
        found = _read_json(b"".join(parts))
        if not isinstance(found, dict):
            raise RemoteBusy(f"{self.url} answered with something that is no JSON object.")
        return found

    async def events(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """The JSON objects of a stream of server-sent events, up to [DONE] or the end of the answer.

        Raises: as `ask`; RemoteFailed for an event that tells of an error.
        """
        async with self._answered("POST", path, body) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip()
            if kind != "text/event-stream":
                raise RemoteFailed(f"{self.url} answered with {kind[:80] or 'nothing'} instead of a stream.")
            async for line in self._lines(response):
                data = line.removeprefix(b"data:").strip()
                if not line.startswith(b"data:") or not data:
                    continue
                if data == b"[DONE]":
                    return
                event = _read_json(data)
                if not isinstance(event, dict):
                    raise RemoteFailed(f"{self.url} sent an event that is no JSON object.")
                if "error" in event:
                    raise RemoteFailed(f"{self.url} stopped in the middle: {self._said(event)}.")
                yield event

    @contextlib.asynccontextmanager
    async def _answered(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> AsyncIterator[httpx.Response]:
        """The response, once its status is good. Raises: as `ask`, also for what breaks off while it is read."""
        where = self.url
        try:
            content = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
            headers = {} if body is None else {"Content-Type": "application/json"}
            async with self._http.stream(method, where + path, content=content, headers=headers) as response:
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise RemoteFailed(f"{where} sent a compressed answer, which was not asked for.")
                if response.status_code != 200:
                    raise await self._fault(response, path)
                yield response
        except UnicodeEncodeError:
            raise RemoteRefused("The text is not valid Unicode (it holds half of a surrogate pair).") from None
        except httpx.ConnectTimeout:
            raise RemoteUnreachable(f"{where} cannot be reached: no answer in {CONNECT_SECONDS:.0f} s.") from None
        except httpx.TimeoutException:
            raise RemoteUnreachable(f"{where} said nothing for {SILENCE_SECONDS:.0f} s.") from None
        except httpx.ConnectError as error:
            raise RemoteUnreachable(f"{where} cannot be reached: {_short(str(error))}. Is the server up?") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RemoteUnreachable(f"The connection to {where} broke off ({type(error).__name__}).") from None

    async def _fault(self, response: httpx.Response, path: str) -> RemoteFailed:
        """What a status other than 200 means, with what the server says of it."""
        where, status = self.url, response.status_code
        body = b"".join([part async for part in self._bounded(response, MAX_LINE_BYTES)])
        said = self._said(_read_json(body))
        told = f": {said}." if said else "."
        if 300 <= status < 400:
            return RemoteFailed(f"{where} redirects to another address ({status}). Give the address itself.")
        if status in (401, 403):
            return RemoteFailed(f"{where} wants another key ({status}); it is read from {KEY}{told}")
        if status == 404:
            return RemoteMissing(f"{where} has no {path}, or not the model asked for (404){told}")
        if status in (408, 429) or status >= 500:
            why = "has too much to do" if status == 429 else "could not answer"
            seconds = _seconds(response.headers.get("retry-after", ""))
            again = f" It takes requests again in {seconds} s." if seconds else ""
            return RemoteBusy(f"{where} {why} ({status}){told}{again}", retry_after_seconds=seconds)
        return RemoteRefused(f"{where} refuses the request ({status}){told}")

    async def _lines(self, response: httpx.Response) -> AsyncIterator[bytes]:
        rest = b""
        async for part in self._bounded(response, MAX_STREAM_BYTES):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r")
            if len(rest) > MAX_LINE_BYTES:
                raise RemoteFailed(f"{self.url} sent an event of more than {MAX_LINE_BYTES >> 20} MB.")
        yield rest

    async def _bounded(self, response: httpx.Response, max_bytes: int) -> AsyncIterator[bytes]:
        n_bytes = 0
        async for part in response.aiter_raw():
            n_bytes += len(part)
            if n_bytes > max_bytes:
                raise RemoteFailed(f"{self.url} sent more than {max_bytes >> 20} MB in one answer.")
            yield part

    def _said(self, body: Any) -> str:
        """The sentence in an error body, in any of the shapes that servers have; never the key, should it be in it."""
        error = body.get("error", body.get("detail")) if isinstance(body, dict) else None
        message = error.get("message") if isinstance(error, dict) else error
        text = message if isinstance(message, str) else ""
        return _short(text.replace(self._key, "***") if self._key else text)

    async def _end(self, grace_seconds: float) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others and grace_seconds > 0:
            await asyncio.wait(others, timeout=grace_seconds)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._http.aclose()


def _read_json(data: bytes) -> Any:
    """The value, or None where the bytes are no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _short(text: str) -> str:
    """On one line, without half surrogates, not too long."""
    return " ".join(text.encode(errors="replace").decode().split())[:MAX_SAID].rstrip(".")


def _seconds(retry_after: str) -> int | None:
    return min(int(retry_after), MAX_RETRY_SECONDS) if retry_after.isascii() and retry_after.isdigit() else None
