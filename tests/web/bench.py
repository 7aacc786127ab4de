"""A benchmark on the served page, spoken by hand: a task of six questions, chosen, started, looked at."""

import secrets
from pathlib import Path
from typing import Any

from tests.web.site import Site

ROWS = (
    "2 + 2 =,4", "3 + 3 =,6", "the sky is,blue", "grass is,green", "one and one is,two", "the opposite of up is,down",
)  # fmt: skip


def own_task(folder: Path, name: str = "sums", n_times: int = 1) -> Path:
    """A task file with its data: six questions, or as many times six."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for n in range(n_times) for row in (line.replace(" is", f" is{' ' * n}") for line in ROWS)]
    (folder / f"{name}.csv").write_text("question,answer\n" + "\n".join(rows) + "\n", encoding="utf-8")
    path = folder / f"{name}.yaml"
    path.write_text(
        f'name: {name}\nkind: exact_match\ndata: {name}.csv\nprompt: "{{{{question}}}}"\nmax_new_tokens: 4\n',
        encoding="utf-8",
    )
    return path


def choose(site: Site, session: str, *names: str) -> None:
    """What the suites, the list and own data do: the choice stands on the server."""
    state = site.function("benchmark-start", "click")["inputs"][0]
    site.page.state_holder[session][state] = tuple(names)


def start(site: Site, session: str, *names: str, **options: Any) -> str:
    """Choose and start; gives the id of the run that is watched then, or an empty text."""
    choose(site, session, *names)
    site.ask("benchmark-start", "click", session, **options)
    return watched(site, session)


def watched(site: Site, session: str) -> str:
    """The run that this session looks at."""
    state = site.function("benchmark-stop", "click")["inputs"][0]
    ids: tuple[str, ...] = site.page.state_holder[session][state]
    return ids[-1] if ids else ""


def press(site: Site, elem_id: str, session: str, *data: Any, event: str = "click") -> dict[str, Any]:
    """A handler outside the queue; the values of its outputs by elem_id."""
    function = site.function(elem_id, event)
    filled = [*[None] * (len(function["inputs"]) - len(data)), *data]
    body = {"data": filled, "fn_index": function["id"], "session_hash": session}
    answer = site.client.post("/gradio_api/run/predict", json=body)
    assert answer.status_code == 200, answer.text
    return _named(site, function, answer.json()["data"])


def look(site: Site, session: str | None = None) -> dict[str, Any]:
    """The card and the list as a page that was just opened gets them."""
    config = site.config()
    card = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "benchmark-card")
    timers = {c["id"] for c in config["components"] if c["type"] == "timer"}
    function = next(
        d for d in config["dependencies"]
        if card in d["outputs"] and any(number in timers and event == "tick" for number, event in d["targets"])
    )  # fmt: skip
    body = {"data": [None] * len(function["inputs"]), "fn_index": function["id"],
            "session_hash": session or secrets.token_hex(5)}  # fmt: skip
    answer = site.client.post("/gradio_api/run/predict", json=body)
    assert answer.status_code == 200, answer.text
    return _named(site, function, answer.json()["data"])


def _named(site: Site, function: dict[str, Any], data: list[Any]) -> dict[str, Any]:
    names = {c["id"]: c["props"].get("elem_id") or f"{c['type']}-{c['id']}" for c in site.config()["components"]}
    return {names[number]: value for number, value in zip(function["outputs"], data, strict=True)}
