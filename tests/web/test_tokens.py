"""The token view against a real tiny model: what is scored, and going on from another token."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch

from llm_app import chat
from llm_app.config import ModelConfig, Settings
from llm_app.conversations.tree import Conversation
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.messages import Message
from llm_app.web.chat import tokens_asking as asking
from llm_app.web.chat.markup import as_written
from tests import tiny
from tests.web.site import Site

REPLY = "jumps over 你好 the lazy dog"
TALK = Conversation.of([Message("user", "the quick brown fox"), Message("assistant", REPLY)])


@pytest.fixture(scope="module")
def host(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(tiny_llama), precision="fp32")):
        pass
    yield host
    host.unload()


def test_a_reply_is_scored_after_the_prompt_that_the_model_was_given(host: Host, tiny_llama: Path) -> None:
    scored = asking.score_reply(host, TALK)
    prompt = chat.render(host.loaded, [Message("user", "the quick brown fox")])
    ids = [*prompt.token_ids, *host.loaded.tokenizer(REPLY)["input_ids"]]
    with torch.inference_mode():
        logits = tiny.load_plain(tiny_llama)(torch.tensor([ids])).logits[0]  # oracle: transformers
    expected = torch.log_softmax(logits, -1)[len(prompt.token_ids) - 1 : -1]
    assert scored.context_ids == prompt.token_ids
    assert b"".join(score.data for score in scored.scores).decode() == REPLY
    assert [score.logprob for score in scored.scores] == pytest.approx(
        [float(row[token]) for row, token in zip(expected, ids[len(prompt.token_ids) :], strict=True)], abs=1e-4
    )


def test_a_text_begins_after_the_start_token(host: Host) -> None:
    scored = asking.score_text(host, "hello world")
    assert scored.start == "<|im_end|>" and len(scored.context_ids) == 1 and scored.turn == ""


def test_a_text_longer_than_the_context_is_cut_with_the_number_of_what_is_left(host: Host) -> None:
    scored = asking.score_text(host, "\x01" * 1000)
    assert (len(scored.scores), scored.n_left) == (511, 489)


def test_without_a_reply_the_next_step_is_named(host: Host) -> None:
    for conversation in (None, Conversation.new(), TALK.before(TALK.tip)):
        with pytest.raises(UserError, match="no reply yet"):
            asking.score_reply(host, conversation)


def test_the_way_on_is_the_text_up_to_the_token_and_the_alternative(host: Host) -> None:
    scored = asking.score_reply(host, TALK)
    at = next(i for i, score in enumerate(scored.scores) if score.data.startswith(b" over"))
    choice = next(k for k, token in enumerate(scored.scores[at].top) if token.data.isascii())
    before = b"".join(score.data for score in scored.scores[:at]).decode()
    assert asking.text_to(host, scored, at, choice) == before + scored.scores[at].top[choice].data.decode()
    ids = asking.ids_to(scored, at, choice)
    assert ids[-1] == scored.scores[at].top[choice].token_id
    assert ids[:-1] == [*scored.context_ids, *(score.token_id for score in scored.scores[:at])]


def test_an_alternative_inside_a_character_is_completed_or_refused_never_broken(host: Host) -> None:
    scored = asking.score_text(host, "你好" * 20)
    n_whole = 0
    for at, score in enumerate(scored.scores):
        for choice, token in enumerate(score.top):
            if token.token_id in scored.ends:
                continue
            try:
                text = asking.text_to(host, scored, at, choice)
            except UserError as error:
                assert "inside a character" in error.message
                continue
            n_whole += 1
            assert "\ufffd" not in text
            assert text.encode().startswith(b"".join(s.data for s in scored.scores[:at]) + token.data)
    assert n_whole > 0


@pytest.mark.parametrize("pressed", [None, 3, "", "1", "1:2:3", "a:b", "-1:0", "0:9", "999:0", "0:0" * 50, "１:0"])
def test_W6_what_is_no_alternative_is_refused(host: Host, pressed: object) -> None:
    scored = asking.score_text(host, "hello world")
    with pytest.raises(UserError, match="no longer"):
        asking.place(scored, pressed)


def test_nothing_goes_on_from_the_end_of_a_reply(host: Host) -> None:
    scored = asking.score_text(host, "hello world")
    ends = replace(scored, ends=frozenset({scored.scores[0].top[0].token_id}))
    with pytest.raises(UserError, match="no longer"):
        asking.place(ends, "0:0")


def test_W5_tokens_of_another_model_lead_nowhere(host: Host) -> None:
    scored = replace(asking.score_text(host, "hello world"), identity="another")
    with pytest.raises(UserError, match="loaded since"):
        asking.text_to(host, scored, 0, 0)


def rows(view: str) -> list[Any]:
    found = re.search(r'data-tokens="([^"]*)"', view)
    assert found
    return list(json.loads(unescape(found[1])))


def test_a_typed_text_is_shown_and_coloured_by_either_measure(site: Site) -> None:
    trigger = ("score-text", "click")
    frame = site.ask(*trigger, "typed", tokens_text="hello world")
    view = site.shown(frame, "tokens", trigger)
    assert "by-probability" in view and rows(view)
    by = ("tokens-colour", "input")
    other = site.shown(site.ask(*by, "typed", tokens_colour="entropy"), "tokens", by)
    assert "by-entropy" in other and rows(other) == rows(view)


def test_the_last_reply_is_scored_as_it_stands_in_the_conversation(site: Site) -> None:
    frame = site.send("hello there", "talker", option_max_new_tokens=12)
    words = site.shown(frame, "conversation")[1]["content"][0]["text"]
    trigger = ("score-reply", "click")
    view = site.shown(site.ask(*trigger, "talker"), "tokens", trigger)
    assert 'data-kind="reply"' in view
    shown = "".join(str(row[0]) for row in rows(view))
    for sign, stands_for in (("⟨..⟩", ""), ("␣", " "), ("↵", "\n"), ("⇥", "\t"), ("␍", "\r")):
        shown = re.sub(sign, stands_for, shown)
    assert shown == as_written(words)


def test_a_text_goes_on_from_an_alternative_and_is_scored_again(site: Site) -> None:
    site.ask("score-text", "click", "on", tokens_text="hello world and then")
    pressed = ("go-on-text", "click")
    short = {"option_max_new_tokens": 5, "option_temperature": 0}
    frames = (site.ask(*pressed, "on", event_data={"value": f"1:{k}"}, **short) for k in range(5))
    # An alternative of this random model may end inside a character; the first that does not will do.
    frame = next(f for f in frames if "inside a character" not in site.shown(f, "tokens-notice", pressed))
    whole = site.shown(frame, "tokens-text", pressed)
    assert whole.startswith("h") and not whole.startswith("hello world and then")
    by = ("tokens-colour", "input")
    view = site.shown(site.ask(*by, "on", tokens_colour="entropy"), "tokens", by)
    assert len(rows(view)) >= 3


def test_another_version_of_the_reply_begins_as_was_chosen(site: Site) -> None:
    site.send("hello there", "version", option_max_new_tokens=12)
    scored = ("score-reply", "click")
    site.ask(*scored, "version")
    assert site.ask("go-on-reply", "click", "version", event_data={"value": "0:1"}) is not None
    assert site.host.status().n_running == 0


@pytest.mark.parametrize("value", ["9999:0", None, {"a": 1}])
def test_W6_a_forged_alternative_is_refused_with_one_sentence(site: Site, value: object) -> None:
    site.ask("score-text", "click", "forged", tokens_text="hello world")
    pressed = ("go-on-text", "click")
    frame = site.ask(*pressed, "forged", event_data={"value": value})
    assert "no longer" in site.shown(frame, "tokens-notice", pressed)


@pytest.mark.parametrize("value", [None, 5, {"path": "/etc/passwd"}, ["x"], " ", ""])
def test_W6_what_is_no_text_is_refused_with_one_sentence(site: Site, value: object) -> None:
    trigger = ("score-text", "click")
    frame = site.ask(*trigger, "bad", tokens_text=value)
    assert 'role="alert"' in site.shown(frame, "tokens-notice", trigger)


def test_W6_a_measure_that_is_none_is_refused(site: Site) -> None:
    trigger = ("score-text", "click")
    frame = site.ask(*trigger, "measure", tokens_text="hello", tokens_colour={"a": 1})
    assert 'role="alert"' in site.shown(frame, "tokens-notice", trigger)


def test_W9_tokens_of_one_visitor_are_not_there_for_another(site: Site) -> None:
    site.ask("score-text", "click", "mine", tokens_text="hello world")
    by = ("tokens-colour", "input")
    assert "Nothing is scored yet" in site.shown(site.ask(*by, "yours", tokens_colour="entropy"), "tokens", by)
