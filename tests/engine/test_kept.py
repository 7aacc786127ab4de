"""The next turn of a chat reads only what is new, and says what it would have said."""

import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.engine.kept import LEAST_TOKENS, REPLY_START_TOKENS, Kept, States
from llm_app.engine.turn import BATCH
from tests import tiny
from tests.running import GREEDY, ids_of, running

LONG = replace(GREEDY, max_new_tokens=40, ignore_eos=True)
QUESTION = [7, 8, 9]


def words(n: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(5, 250) for _ in range(n)]


PROMPT = words(150, 1)


@pytest.fixture
def host(tiny_llama: Path, settings: Settings) -> Iterator[Host]:
    with running(tiny_llama, settings) as host:
        yield host


def said(host: Host, prompt: list[int], **options: object) -> list[int]:
    """The reply, once its row is free: what it leaves is kept by then."""
    reply = ids_of(host.stream(prompt, LONG, **options))
    while host.status().n_running:
        time.sleep(0.001)
    return reply


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_next_turns_read_what_is_new_and_say_the_same(
    family: str, request: pytest.FixtureRequest, settings: Settings, n_read: list[int]
) -> None:
    folder = request.getfixturevalue(f"tiny_{family}")
    with running(folder, settings) as host:
        second = PROMPT + said(host, PROMPT) + QUESTION
        third = second + said(host, second) + QUESTION
        ends = [said(host, third)]
    # The last token of a reply has been through no pass yet.
    assert n_read == [len(PROMPT), len(QUESTION) + 1, len(QUESTION) + 1]
    with running(folder, settings) as fresh:
        ends.append(said(fresh, third))
    assert ends[0] == ends[1]
    assert n_read[-1] == len(third)


def test_a_reply_that_was_stopped_is_gone_on_from_too(host: Host, n_read: list[int]) -> None:
    stream = host.stream(PROMPT, LONG)
    so_far = [token for _, delta in zip(range(5), stream, strict=False) for token in delta.token_ids]
    stream.close()
    while host.status().n_running:
        time.sleep(0.001)
    reply = said(host, PROMPT + so_far + QUESTION)
    assert n_read == [len(PROMPT), len(QUESTION)] or n_read == [len(PROMPT), len(QUESTION) + 1]
    with_all = PROMPT + so_far + QUESTION
    with running(Path(host.loaded.entry.path), host.settings) as fresh:
        assert said(fresh, with_all) == reply


def test_the_same_prompt_again_and_other_chats_are_read_whole(host: Host, n_read: list[int]) -> None:
    said(host, PROMPT)
    said(host, PROMPT)  # another try
    said(host, [*PROMPT[:-6], *QUESTION, *PROMPT[-3:]])  # an equal system prompt, another question
    said(host, [*PROMPT[:100], *words(100, 2)])
    assert n_read == [150, 150, 150, 200]


def test_what_an_evaluation_asks_depends_on_no_chat(host: Host, n_read: list[int]) -> None:
    second = PROMPT + said(host, PROMPT) + QUESTION
    said(host, second, rank=BATCH)
    assert n_read == [150, len(second)]
    # Nor does a chat go on from an evaluation.
    asked = words(150, 8)
    said(host, asked + said(host, asked, rank=BATCH) + QUESTION)
    assert n_read[-1] == 150 + LONG.max_new_tokens + len(QUESTION)


def test_an_adapter_does_not_go_on_from_the_base(host: Host, tiny_adapter: Path, n_read: list[int]) -> None:
    second = PROMPT + said(host, PROMPT) + QUESTION
    host.loaded.adapters.attach(tiny_adapter, name="a")
    with_adapter = said(host, second, adapter="a")
    assert n_read == [150, len(second)]
    third = second + with_adapter + QUESTION
    said(host, third, adapter="a")
    assert n_read[-1] == len(QUESTION) + 1


def test_a_short_chat_is_not_kept_and_a_model_that_goes_takes_all_with_it(host: Host, n_read: list[int]) -> None:
    kept = host._decoder._kept if host._decoder else Kept()
    said(host, PROMPT[: LEAST_TOKENS - len(QUESTION) - 40])
    assert kept.n_bytes == 0
    said(host, PROMPT)
    assert kept.n_bytes > 0
    host.unload()
    assert kept.n_bytes == 0


def states(n_tokens: int) -> States:
    return [(torch.arange(float(n_tokens))[None, :, None], torch.zeros(1, n_tokens, 1)) for _ in range(2)]


def test_a_chat_is_kept_once_and_its_turns_asked_again_take_what_they_took() -> None:
    kept, ids = Kept(), words(600, 3)
    kept.keep("", ids[:200], 150, 0, states(200))
    found = kept.find("", ids[:180] + QUESTION)
    assert found is not None and [pair[0].shape for pair in found] == [(1, 180, 1)] * 2
    assert found[0][0][0, :, 0].tolist() == list(range(180))
    one = kept.n_bytes
    kept.keep("", ids[:400], 300, 180, states(400))
    kept.keep("", ids, 500, 390, states(600))
    assert kept.n_bytes == 3 * one, "the turns before stand in the last one"

    def taken(prompt: list[int], adapter: str = "") -> int:
        found = kept.find(adapter, prompt)
        return 0 if found is None else found[0][0].shape[1]

    assert taken(ids + QUESTION) == 600 and taken(ids) == 599, "the last token is read"
    assert taken(ids[:500]) == 390 and taken(ids[:300]) == 180 and taken(ids[:150]) == 0, "as the first time"
    assert taken(ids[:250] + QUESTION * 99) == 180, "another second question"
    assert taken(ids, "other") == 0


def test_a_longer_reply_to_the_same_prompt_stays_and_another_takes_its_place() -> None:
    kept, ids = Kept(), words(300, 6)
    kept.keep("", ids, 200, 0, states(300))
    n_bytes = kept.n_bytes
    kept.keep("", ids[:201], 200, 0, states(201))
    assert kept.n_bytes == n_bytes
    kept.keep("", ids[:200] + QUESTION, 200, 0, states(203))
    assert kept.n_bytes < n_bytes


@pytest.mark.parametrize("n_other", [0, REPLY_START_TOKENS, REPLY_START_TOKENS + 1])
def test_the_opening_of_a_reply_may_have_become_another(n_other: int) -> None:
    kept, ids = Kept(), words(300, 5)
    kept.keep("", ids, 200, 0, states(300))
    found = kept.find("", ids[: 200 - n_other] + [1] * 50)
    if n_other > REPLY_START_TOKENS:
        assert found is None
    else:
        assert found is not None and found[0][0].shape[1] == 200 - n_other


def test_what_was_not_used_for_longest_goes_first_and_the_memory_is_bounded() -> None:
    one = states(200)
    n_bytes = sum(each.nbytes for pair in one for each in pair)
    kept, chats = Kept(2 * n_bytes), [words(200, seed) for seed in range(3)]
    kept.keep("", chats[0], 150, 0, one)
    kept.keep("", chats[1], 150, 0, one)
    assert kept.find("", chats[0] + QUESTION) is not None
    kept.keep("", chats[2], 150, 0, one)
    kept.keep("", words(900, 7), 800, 0, states(900))  # more than fits at all
    assert kept.n_bytes == 2 * n_bytes
    assert [kept.find("", chat + QUESTION) is not None for chat in chats] == [True, False, True]


def test_where_no_memory_is_left_nothing_is_kept_and_replies_go_on() -> None:
    kept = Kept(1 << 62)
    kept.keep("", words(200, 1), 150, 0, states(200))
    assert kept.n_bytes > 0
    huge = torch.zeros(1, 1, 1).expand(1, 200, 1 << 40)  # 800 TiB
    kept.keep("", words(200, 2), 150, 0, [(huge, huge)])
    assert kept.n_bytes == 0


def test_a_public_server_keeps_nothing(tiny_llama: Path, settings: Settings, n_read: list[int]) -> None:
    shutil.copytree(tiny_llama, settings.home / "models" / "tiny")
    with running(Path("tiny"), replace(settings, is_public=True)) as host:
        second = PROMPT + said(host, PROMPT) + QUESTION
        said(host, second)
    assert n_read == [150, len(second)]
