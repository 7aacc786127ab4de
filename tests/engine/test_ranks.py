"""Replies of an evaluation beside chats."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_app.config import ServeConfig, Settings
from llm_app.engine.host import Host
from llm_app.engine.turn import BATCH, PATIENCE
from llm_app.messages import Stream
from tests.running import GREEDY, ids_of, running

LONG = replace(GREEDY, max_new_tokens=400, ignore_eos=True)
SHORT = replace(GREEDY, max_new_tokens=60, ignore_eos=True)


@pytest.fixture
def host(tiny_llama: Path, settings: Settings) -> Iterator[Host]:
    with running(tiny_llama, settings, serve=ServeConfig(max_streams=2)) as host:
        yield host


def waiting_tokens(stream: Stream) -> int:
    """Tokens that came and were not read yet."""
    n = 0
    while (delta := stream.get(0.0)) is not None:
        n += len(delta.token_ids)
    return n


def test_a_reply_of_an_evaluation_gets_one_step_while_a_chat_gets_several(host: Host) -> None:
    evaluation = host.stream([5, 6, 7], LONG, rank=BATCH)
    next(evaluation)
    chat = host.stream([8, 9], SHORT)
    next(chat)
    waiting_tokens(evaluation)
    n_chat = len(ids_of(chat))
    # What came after the chat ended, before this line, is more than its share: the bound allows a few.
    n_evaluation = waiting_tokens(evaluation)
    evaluation.close()
    assert 0 < n_evaluation <= n_chat / (PATIENCE + 1) + 10


def test_a_chat_that_waits_for_room_is_admitted_before_replies_of_an_evaluation(host: Host) -> None:
    running_ones = [host.stream([5, 6], replace(LONG, max_new_tokens=100 + 50 * i), rank=BATCH) for i in range(2)]
    for stream in running_ones:
        next(stream)
    waiting = host.stream([5, 6], LONG, rank=BATCH)
    chat = host.stream([7, 8], SHORT)
    next(chat)
    assert waiting.get(0.0) is None
    for stream in (*running_ones, waiting, chat):
        stream.close()


def test_replies_of_an_evaluation_do_not_depend_on_chats_beside_them(host: Host) -> None:
    alone = ids_of(host.stream([5, 6, 7] * 40, LONG, rank=BATCH))
    chat = host.stream([8, 9], LONG)
    next(chat)
    assert ids_of(host.stream([5, 6, 7] * 40, LONG, rank=BATCH)) == alone
    chat.close()
