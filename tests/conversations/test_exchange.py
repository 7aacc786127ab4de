"""Conversations from other programs, out again, and what is no conversation."""

import json
from typing import Any

import pytest

from llm_app.conversations.exchange import MAX_IMPORTED, as_markdown, read_conversations
from llm_app.conversations.form import MAX_BYTES, ConversationRefused, as_text
from llm_app.conversations.tree import Conversation
from llm_app.messages import Message
from tests.conversations.test_store import DETAILS
from tests.conversations.test_tree import contents, talk

HELLO = [("system", "be brief"), ("user", "你好"), ("assistant", "hello")]
SHAREGPT = ("system", "human", "gpt")
CHATGPT = {
    "title": "From elsewhere", "current_node": "d",
    "mapping": {
        "r": {"parent": None, "message": None},
        "a": {"parent": "r", "message": {"author": {"role": "system"}, "content": {"parts": [""]}}},
        "b": {"parent": "a", "message": {"author": {"role": "user"}, "content": {"parts": ["你好"]}}},
        "x": {"parent": "b", "message": {"author": {"role": "assistant"}, "content": {"parts": ["another"]}}},
        "t": {"parent": "b", "message": {"author": {"role": "tool"}, "content": {"parts": [{"image": 1}]}}},
        "d": {"parent": "t", "message": {"author": {"role": "assistant"}, "content": {"parts": ["hel", "lo"]}}},
    },
}  # fmt: skip


def sent(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("value", [
    [{"role": role, "content": words} for role, words in HELLO],
    {"messages": [{"role": role, "content": words} for role, words in HELLO], "model": "x"},
    [{"messages": [{"role": role, "content": [{"type": "text", "text": words}]} for role, words in HELLO]}],
    {"conversations": [{"from": n, "value": words} for n, (_, words) in zip(SHAREGPT, HELLO, strict=True)]},
    [{"conversations": [{"from": n, "value": words} for n, (_, words) in zip(SHAREGPT, HELLO, strict=True)]}],
])  # fmt: skip
def test_the_layouts_of_other_programs_are_read(value: Any) -> None:
    (made,) = read_conversations(sent(value))
    assert made.messages() == [Message(role, words) for role, words in HELLO]  # type: ignore[arg-type]


def test_the_branch_in_sight_of_a_chatgpt_export_is_read_without_its_tools() -> None:
    (made,) = read_conversations(sent([CHATGPT]))
    assert contents(made) == ["你好", "hel\n\nlo"] and made.name == "From elsewhere"


def test_our_own_export_comes_back_whole_under_an_id_of_its_own() -> None:
    made = talk("a", "b").with_turn("user", "c").with_turn("assistant", "d", DETAILS)
    made = made.before(made.tip).with_turn("assistant", "D", DETAILS)
    (read,) = read_conversations(as_text(made).encode())
    assert read.id != made.id
    assert (read.turns, read.tip, read.system_prompt) == (made.turns, made.tip, made.system_prompt)


def test_a_file_with_a_byte_order_mark_is_read() -> None:
    assert read_conversations(b"\xef\xbb\xbf" + as_text(talk("a")).encode())


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "not valid JSON"), (b'{"messages": [', "not valid JSON"), (b"\xff\xfe{", "not UTF-8"), (b"7", "No messages"),
    (b"[" * 50_000 + b"]" * 50_000, "JSON"),
    (b"[]", "no conversation"), (b"{}", "No messages"), (b'"x"', "No messages"),
    (sent({"messages": []}), "no message"), (sent([{"role": "tool", "content": "x"}]), "'tool'"),
    (sent([{"role": "user", "content": 7}]), "not text"), (sent([{"role": "user"}]), "not text"),
    (sent([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]), "only text"),
    (sent([{"role": "user", "content": "x" * 400_001}]), "400,001 characters"),
    (b'[{"role": "user", "content": "\\ud800"}]', "Unicode"),
    (sent([{"role": ["user"], "content": "x"}]), "only system"),
    (sent([{"messages": [{"role": "user", "content": "x"}]}] * (MAX_IMPORTED + 1)), "201 conversations"),
    (sent([{"role": "user", "content": "x"}] * 5_001), "5,001 messages"), (b" " * (MAX_BYTES + 1), "limit"),
    (sent({"mapping": {"a": {"parent": "a", "message": None}}, "current_node": "a"}), "circle"),
    (sent({"mapping": [], "messages": None}), "No messages"), (sent([{"messages": [7]}]), "not an object"),
    (sent({"proofbench": {"version": 1, "id": "../../../../etc/passwd"}}), "turns"),
])  # fmt: skip
def test_what_is_no_conversation_is_refused_in_one_sentence(data: bytes, reason: str) -> None:
    with pytest.raises(ConversationRefused) as refused:
        read_conversations(data)
    assert reason in refused.value.message and "\n" not in refused.value.message and len(refused.value.message) < 200


def test_markdown_has_the_messages_in_sight_with_what_they_hold_unchanged() -> None:
    made = Conversation.of([Message("system", "be brief"), Message("user", "# not a title\n\n```py\nx\n```")])
    text = as_markdown(made)
    assert "# not a title\n\n```py\nx\n```" in text and "## System\n\nbe brief" in text
    shown = talk("a", "b").with_turn("user", "c").with_turn("assistant", "d", DETAILS)
    assert as_markdown(shown).endswith("## Model\n\nd\n\n*tiny, 58 tokens, seed 9223372036854775807*\n")
