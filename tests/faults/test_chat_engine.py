"""Rows C of the fault table, where the engine answers for them."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from llm_app import chat
from llm_app.config import SamplingConfig, Settings
from llm_app.engine import request as request_module
from llm_app.engine.host import Host
from llm_app.errors import ContextLengthExceeded, EngineUnavailable, GenerationFailed, UserError
from llm_app.messages import Message
from tests.engine.test_decoding import prompts, wait_until_idle
from tests.running import GREEDY, ids_of, running, text_of

ENDLESS = SamplingConfig(temperature=0.0, max_new_tokens=400, ignore_eos=True)


@pytest.fixture
def host(tiny_llama: Path, settings: Settings) -> Iterator[Host]:
    with running(tiny_llama, settings) as host:
        yield host


def user(text: str) -> list[Message]:
    return [Message("user", text)]


def test_C1_a_prompt_over_the_context_names_both_counts_and_trimming_says_what_was_cut(host: Host) -> None:
    history = [Message(role, f"turn {i} " * 20) for i in range(8) for role in ("user", "assistant")]  # type: ignore[arg-type]
    history.append(Message("user", "the last"))
    with pytest.raises(ContextLengthExceeded, match=r"[\d,]+ tokens.*512"):
        chat.render(host.loaded, history)
    prompt = chat.render(host.loaded, history, trim=True, max_new_tokens=64)
    assert prompt.n_dropped > 0 and "the last" in prompt.text
    assert len(prompt.token_ids) + 64 <= host.loaded.n_context
    assert len(history) == 17


def test_C1_the_system_message_is_never_cut(host: Host) -> None:
    history = [Message("system", "be brief"), *(Message("user", "word " * 60) for _ in range(9))]
    assert "be brief" in chat.render(host.loaded, history, trim=True).text


def test_C3_a_huge_text_is_refused_before_it_is_tokenised(host: Host) -> None:
    started = time.perf_counter()
    with pytest.raises(ContextLengthExceeded, match="characters"):
        chat.render(host.loaded, user("x" * 50_000_000))
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("text", ["", "   \n", "\0\0"])
def test_C4_a_message_without_content_is_refused(host: Host, text: str) -> None:
    with pytest.raises(UserError, match="empty"):
        chat.render(host.loaded, user(text))


@pytest.mark.parametrize("text", ["👍👍", "مرحبا", "你好", "\u202eabc"])
def test_C4_unusual_scripts_reach_the_model_unchanged(host: Host, text: str) -> None:
    assert text in chat.render(host.loaded, user(text)).text
    assert chat.reply(host, user(text), GREEDY).get(30) is not None


def test_C4_half_a_surrogate_pair_is_refused(host: Host) -> None:
    with pytest.raises(UserError, match="not valid Unicode"):
        chat.render(host.loaded, user("a\ud83d"))


def test_C5_a_reader_who_leaves_while_queued_or_while_the_prompt_is_read_frees_the_place(host: Host) -> None:
    streams = [host.stream([5 + i % 9 for i in range(450)], ENDLESS) for _ in range(40)]
    for stream in streams:
        stream.close()
    wait_until_idle(host)
    assert host._decoder is not None and host._decoder.n_cache_bytes == 0


def test_C8_a_hundred_starts_and_stops_leave_nothing_running(host: Host) -> None:
    process = psutil.Process()
    for _ in range(5):
        host.stream([5, 6, 7], ENDLESS).close()
    wait_until_idle(host)
    n_threads, rss = threading.active_count(), process.memory_info().rss
    for _ in range(100):
        stream = host.stream([5, 6, 7], ENDLESS)
        next(stream)
        stream.close()
    wait_until_idle(host)
    assert threading.active_count() == n_threads
    assert process.memory_info().rss - rss < 20e6


def test_C8_stop_before_the_start_twice_and_after_the_end_is_no_error(host: Host) -> None:
    stream = host.stream([5], GREEDY)
    stream.close()
    stream.close()
    finished = host.stream([5], GREEDY)
    list(finished)
    finished.close()


def fail_after(model: torch.nn.Module, n_passes: int, error: Exception) -> torch.utils.hooks.RemovableHandle:
    """Make a real model raise at its n-th pass from now."""
    passed = 0

    def hook(module: object, args: object) -> None:
        nonlocal passed
        passed += 1
        if passed > n_passes:
            raise error

    return model.model.embed_tokens.register_forward_pre_hook(hook)


def test_C9_a_fault_in_the_middle_keeps_the_text_names_a_number_and_the_next_message_works(host: Host) -> None:
    hook = fail_after(host.loaded.model, 5, ValueError("secret detail"))
    stream = host.stream(prompts(1)[0], ENDLESS)
    kept = []
    with pytest.raises(GenerationFailed, match=r"number [0-9a-f]{8}") as failed:
        for delta in stream:
            kept.append(delta)
    assert len([token for delta in kept for token in delta.token_ids]) == 5
    assert "secret" not in str(failed.value)
    hook.remove()
    assert ids_of(host.stream(prompts(1)[0], GREEDY))


def test_C10_invalid_numbers_end_the_reply_with_a_sentence_under_greedy_too(host: Host) -> None:
    healthy = ids_of(host.stream(prompts(1)[0], GREEDY))
    broken = host.loaded.model.lm_head.register_forward_hook(lambda module, given, logits: logits.index_fill_(
        -1, torch.tensor([7]), torch.nan
    ))
    for rules in (GREEDY, SamplingConfig(max_new_tokens=4), replace(GREEDY, n_beams=2)):
        with pytest.raises(GenerationFailed, match="invalid numbers.*fp32"):
            list(host.stream([5, 6, 7], rules))
    broken.remove()
    assert ids_of(host.stream(prompts(1)[0], GREEDY)) == healthy


def test_C10_a_row_that_turned_invalid_does_not_poison_the_next_in_its_place(host: Host) -> None:
    healthy = ids_of(host.stream(prompts(1)[0], GREEDY))
    neighbour = host.stream([9, 8], ENDLESS)
    embedding = host.loaded.model.model.embed_tokens.weight
    with torch.no_grad():
        embedding[300] = torch.nan
    with pytest.raises(GenerationFailed):
        list(host.stream([5, 300, 7], GREEDY))
    assert ids_of(host.stream(prompts(1)[0], GREEDY)) == healthy
    neighbour.close()


def test_C15_a_model_that_never_ends_is_ended_by_the_clock_with_the_reason(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_module, "MAX_SECONDS", 0.05)
    deltas = list(host.stream([5, 6], ENDLESS))
    assert deltas[-1].finish_reason == "time" and text_of(deltas)


def test_C15_a_model_that_never_ends_stops_at_the_token_limit(host: Host) -> None:
    deltas = list(host.stream([5, 6], replace(ENDLESS, max_new_tokens=30)))
    assert deltas[-1].finish_reason == "length" and len(ids_of_deltas(deltas)) == 30


def ids_of_deltas(deltas: list) -> list[int]:  # type: ignore[type-arg]
    return [token for delta in deltas for token in delta.token_ids]


@pytest.mark.filterwarnings("ignore")
def test_H16_a_decoder_that_keeps_failing_is_restarted_three_times_and_then_says_so(host: Host) -> None:
    hook = fail_after(host.loaded.model, 0, ValueError("broken"))
    for _ in range(4):
        with pytest.raises(GenerationFailed):
            list(host.stream([5, 6], GREEDY))
    with pytest.raises(EngineUnavailable, match="Load the model again"):
        host.stream([5, 6], GREEDY)
    status = host.status()
    assert status.state == "failed" and status.reason
    hook.remove()


def test_L13_running_out_of_memory_in_a_pass_is_told_and_survived(host: Host) -> None:
    hook = fail_after(host.loaded.model, 2, MemoryError())
    with pytest.raises(GenerationFailed, match="Not enough memory"):
        list(host.stream([5, 6], ENDLESS))
    hook.remove()
    assert ids_of(host.stream([5, 6], GREEDY))


def test_C1_a_very_long_history_is_cut_at_the_first_turn_that_fits(host: Host) -> None:
    history = [Message("user", f"question {i} about tea") for i in range(400)]
    prompt = chat.render(host.loaded, history, trim=True, max_new_tokens=64)
    room = host.loaded.n_context - 64
    assert len(prompt.token_ids) <= room
    one_more = chat.render(host.loaded, history[prompt.n_dropped - 1 :], max_new_tokens=64)
    assert len(one_more.token_ids) > room
