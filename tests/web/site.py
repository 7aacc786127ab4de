"""The page as a raw HTTP client meets it: a real server with a tiny model, and gradio's queue spoken by hand."""

import json
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest

from llm_app.api import build_api
from llm_app.config import ModelConfig, ServeConfig, Settings
from llm_app.engine.host import Host
from llm_app.http_server import Server
from llm_app.serve import open_port
from llm_app.services import Services
from llm_app.web import mount_page
from tests.live import wait_for

MODEL = "tiny"


@dataclass
class Site:
    """A served page."""

    url: str
    page: gr.Blocks
    services: Services
    client: httpx.Client

    @property
    def host(self) -> Host:
        """The engine behind it."""
        return self.services.host

    def config(self) -> dict[str, Any]:
        """What the browser is told."""
        answer: dict[str, Any] = self.client.get("/config").json()
        return answer

    def function(self, elem_id: str, event: str) -> dict[str, Any]:
        """The handler of one event of one component."""
        config = self.config()
        number = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == elem_id)
        return next(d for d in config["dependencies"] if [number, event] in [list(t) for t in d["targets"]])

    def inputs(self, function: dict[str, Any], **changed: Any) -> list[Any]:
        """The form as it stands when the page opens, some controls changed by their elem_id."""
        by_number = {c["id"]: c["props"] for c in self.config()["components"]}
        names = [str(by_number[n].get("elem_id", "")).replace("-", "_") for n in function["inputs"]]
        assert set(changed) <= set(names), (changed, names)
        return [changed.get(name, by_number[n].get("value")) for n, name in zip(function["inputs"], names, strict=True)]

    def join(self, elem_id: str, event: str, session: str, *, event_data: Any = None, **changed: Any) -> httpx.Response:
        """Ask for an event through the queue, without reading what comes of it."""
        function = self.function(elem_id, event)
        body = {"data": self.inputs(function, **changed), "fn_index": function["id"], "session_hash": session,
                "event_data": event_data}  # fmt: skip
        return self.client.post("/gradio_api/queue/join", json=body)

    def events(self, session: str) -> list[dict[str, Any]]:
        """All messages of a session until its stream closes."""
        asked = {"session_hash": session}
        with self.client.stream("GET", "/gradio_api/queue/data", params=asked) as stream:
            whole = stream.read().decode()
        # Lines of a stream of events end in \n; a reply may hold U+2028 and its like, where `iter_lines` would cut.
        return [json.loads(line[6:]) for line in whole.split("\n") if line.startswith("data: ")]

    def ask(self, elem_id: str, event: str, session: str | None = None, **changed: Any) -> list[Any]:
        """The last frame of an event: the values of its outputs."""
        session = session or secrets.token_hex(5)
        answer = self.join(elem_id, event, session, **changed)
        assert answer.status_code == 200, answer.text
        done = [m for m in self.events(session) if m["msg"] == "process_completed"]
        assert done and done[-1]["success"], done
        data: list[Any] = done[-1]["output"]["data"]
        return data

    def send(self, message: Any, session: str | None = None, **changed: Any) -> list[Any]:
        """Send a chat message; short and greedy unless said otherwise."""
        short = {"option_max_new_tokens": 6, "option_temperature": 0} | changed
        return self.ask("send", "click", session, message=message, **short)

    def shown(self, frame: list[Any], elem_id: str, trigger: tuple[str, str] = ("send", "click")) -> Any:
        """The value of one output in a frame."""
        config = self.config()
        number = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == elem_id)
        return frame[self.function(*trigger)["outputs"].index(number)]


def is_unchanged(value: Any) -> bool:
    """Whether gradio said that an output is left alone."""
    return isinstance(value, dict) and value.get("__type__") == "update" and "value" not in value


def texts(conversation: list[dict[str, Any]]) -> list[str]:
    """What each turn of a shown conversation says, without the line under it."""
    return [turn["content"][0]["text"] for turn in conversation]


@contextmanager
def serving(
    home: Path, model: Path | None, *, is_public: bool = False, data: Path | None = None
) -> Iterator[Site]:
    """Serve page and API; the folder `model` is loaded under the name "tiny", data sets are read from `data`."""
    settings = Settings(home=home, is_public=is_public, data=data)
    with pytest.MonkeyPatch.context() as patch:
        # As in `serve`: a folder of its own for what is uploaded, and none from which nothing is handed out.
        patch.setenv("GRADIO_TEMP_DIR", str(home.with_name(f"{home.name}-uploads")))
        yield from _served(settings, model)


def _served(settings: Settings, model: Path | None) -> Iterator[Site]:
    for folder in (settings.models, settings.adapters):
        folder.mkdir(parents=True, exist_ok=True)
    serve = ServeConfig()
    services = Services(settings, serve, Host(settings, serve))
    if model is not None:
        shutil.copytree(model, settings.models / MODEL)
        for _ in services.host.load(ModelConfig(model=MODEL, precision="fp32")):
            pass
    app = build_api(services, environ={})
    page = mount_page(app, services)
    listener = open_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    is_up = threading.Event()
    server = Server(app, on_start=is_up.set, drain=lambda _: services.host.shutdown(0.0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert is_up.wait(30)
    with httpx.Client(base_url=url, timeout=60) as client:
        yield Site(url, page, services, client)
    server.should_exit = True
    thread.join(20)
    listener.close()


def wait_until_idle(site: Site, seconds: float = 3.0) -> float:
    """Seconds until no reply runs or waits."""
    return wait_for(lambda: site.host.status().n_running + site.host.status().n_waiting == 0, seconds)
