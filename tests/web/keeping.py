"""What the tests of kept conversations do with a page over raw HTTP."""

import json
import secrets
from typing import Any

from llm_app.conversations.tree import Conversation
from llm_app.messages import Message
from tests.web.site import Site, texts

HELLO = json.dumps([{"role": "user", "content": "你好"}, {"role": "assistant", "content": "hello"}])


def at_once(
    site: Site, elem_id: str, event: str, session: str, event_data: Any = None, **changed: Any
) -> dict[str, Any]:
    """An event that is answered without the queue: the values of its outputs by elem_id."""
    function = site.function(elem_id, event)
    body = {"data": site.inputs(function, **changed), "fn_index": function["id"], "session_hash": session,
            "event_data": event_data}  # fmt: skip
    answer = site.client.post("/gradio_api/run/predict", json=body)
    assert answer.status_code == 200, answer.text
    return named(site, function, answer.json()["data"])


def act(site: Site, session: str, name: str, value: Any = None, **changed: Any) -> dict[str, Any]:
    """A press of a button under a message, through the queue."""
    short = {"option_max_new_tokens": 6, "option_temperature": 0} | changed
    answer = site.join("acts", "click", session, event_data={"name": name, "value": value}, **short)
    assert answer.status_code == 200, answer.text
    done = [m for m in site.events(session) if m["msg"] == "process_completed"]
    assert done and done[-1]["success"], done
    return named(site, site.function("acts", "click"), done[-1]["output"]["data"])


def said(site: Site, session: str, message: str, **changed: Any) -> dict[str, Any]:
    """A message, and its reply as the page shows it."""
    return named(site, site.function("send", "click"), site.send(message, session, **changed))


def named(site: Site, function: dict[str, Any], values: list[Any]) -> dict[str, Any]:
    """Values of outputs by the elem_id of their components."""
    names = {c["id"]: c["props"].get("elem_id") or f"{c['type']}-{c['id']}" for c in site.config()["components"]}
    return {names[n]: value for n, value in zip(function["outputs"], values, strict=True)}


def opened(site: Site, conversation_id: str, session: str | None = None, **changed: Any) -> dict[str, Any]:
    """The page as a reload finds it."""
    session = session or secrets.token_hex(5)
    return at_once(site, "open", "load", session, {"value": conversation_id}, **changed)


def replies(frame: dict[str, Any]) -> list[str]:
    """What each message of a frame says."""
    return texts(frame["conversation"])


def ids(frame: dict[str, Any]) -> list[str]:
    """The ids of the messages of a frame, as their buttons carry them."""
    lines = [turn["content"][1]["text"] for turn in frame["conversation"]]
    return [line.split('name="branch" value="')[1].split('"')[0] for line in lines]


def kept(site: Site, *words: str) -> Conversation:
    """A conversation that the site keeps."""
    from llm_app.conversations.store import ConversationStore

    roles = ("user", "assistant")
    made = Conversation.of(Message(roles[n % 2], content) for n, content in enumerate(words))  # type: ignore[arg-type]
    return ConversationStore(site.services.settings.home / "conversations").save(made)
