"""The page as a browser asks for it, without a browser: gradio's queue spoken by hand. Nothing here is timed."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

API = "/gradio_api"


class Page:
    """One server's page; every call names the session, which stands for one open window."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=600)
        self._config: dict[str, Any] = self.client.get("/config").json()
        self._components = {c["id"]: c["props"] for c in self._config["components"]}

    def function(self, elem_id: str, event: str) -> dict[str, Any]:
        """The handler of an event of the component with this name."""
        number = next(n for n, props in self._components.items() if props.get("elem_id") == elem_id)
        return next(d for d in self._config["dependencies"] if [number, event] in [list(t) for t in d["targets"]])

    def open(self) -> None:
        """What a browser asks for first."""
        self.client.get("/").raise_for_status()

    def join(self, elem_id: str, session: str, event: str = "click", **changed: Any) -> None:
        """Ask for an event through the queue; the form is as the page shows it, but for what is changed by name."""
        function = self.function(elem_id, event)
        values = {n: self._components[n] for n in function["inputs"]}
        data = [
            changed.get(str(props.get("elem_id", "")).replace("-", "_"), props.get("value"))
            for props in values.values()
        ]
        body = {"data": data, "fn_index": function["id"], "session_hash": session}
        self.client.post(f"{API}/queue/join", json=body).raise_for_status()

    def follow(self, session: str) -> None:
        """Read what comes until the session's events are over.

        Raises: RuntimeError if one failed.
        """
        with self.client.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
            told = [json.loads(text[6:]) for text in stream.read().decode().split("\n") if text.startswith("data: ")]
        done = [message for message in told if message["msg"] == "process_completed"]
        if not done or not all(message["success"] for message in done):
            raise RuntimeError(f"an event of the page failed: {told[-1:]}")

    def ask(self, elem_id: str, session: str, event: str = "click", **changed: Any) -> None:
        """An event through the queue, to its end."""
        self.join(elem_id, session, event, **changed)
        self.follow(session)

    def press(self, elem_id: str, session: str, event: str = "click") -> None:
        """A handler beside the queue, without values of the form."""
        function = self.function(elem_id, event)
        body = {"data": [None] * len(function["inputs"]), "fn_index": function["id"], "session_hash": session}
        self.client.post(f"{API}/run/predict", json=body).raise_for_status()


def new_session() -> str:
    """A name as gradio's script makes them."""
    return secrets.token_hex(5)


class Run:
    """A run of the server as its folder tells it, from outside; lines are read once."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "events.jsonl"
        self._place = 0
        self._ended = ""
        self.moments: list[float] = []  # when a result or a step was found in the log
        self.steps: list[dict[str, Any]] = []

    def look(self) -> str:
        """Take in what is new; gives how the run ended, or nothing while it goes on."""
        if not self._log.exists():
            return self._ended
        with self._log.open("rb") as file:
            file.seek(self._place)
            data = file.read()
        moment, whole = time.monotonic(), data[: data.rfind(b"\n") + 1]
        self._place += len(whole)
        for text in whole.splitlines():
            event = json.loads(text)
            if event["type"] in ("result", "step"):
                self.moments.append(moment)
            if event["type"] == "step":
                self.steps.append(event)
            if event["type"] == "end":
                self._ended = event["status"]
        return self._ended

    def wait(self, n: int) -> None:
        """Until there are so many results or steps.

        Raises: RuntimeError if it ends before.
        """
        while len(self.moments) < n:
            if self.look():
                raise RuntimeError(f"the run ended too early: {self._ended}")
            time.sleep(0.05)


class Runs:
    """Starts runs on the page and finds their folders in the server's home."""

    def __init__(self, page: Page, server: int) -> None:
        self._page = page
        self._folder = Path(psutil.Process(server).environ()["PROOFBENCH_HOME"], "runs")

    def benchmark(self, session: str, limit: int | None) -> Run:
        """The suite Smoke, of each task the first samples or all."""
        return self._started(session, ["suite-smoke", "benchmark-start"], option_limit=str(limit or ""))

    def training(self, session: str) -> Run:
        """The example data, with the options as they stand."""
        return self._started(session, ["tune-example", "tune-start"])

    def _started(self, session: str, presses: list[str], **changed: Any) -> Run:
        before = set(self._there())
        for elem_id in presses:
            self._page.ask(elem_id, session, **changed)
        new = [folder for folder in self._there() if folder not in before]
        if not new:
            raise RuntimeError(f"no run came of pressing {presses[-1]}")
        return Run(new[0])

    def _there(self) -> Iterator[Path]:
        return (folder for folder in self._folder.glob("*") if not folder.name.startswith("."))
