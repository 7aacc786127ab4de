"""A second model beside the first: loaded on demand, refused with numbers, given back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_app.config import ModelConfig, SamplingConfig, Settings
from llm_app.engine import fit
from llm_app.engine.host import Host
from llm_app.engine.second import SecondModel
from llm_app.errors import DoesNotFit
from tests.live import wait_for


@pytest.fixture
def host(tiny_llama: Path, settings: Settings) -> Iterator[Host]:
    host = Host(settings)
    for _ in host.load(ModelConfig(str(tiny_llama), precision="fp32")):
        pass
    yield host
    host.unload()


def bf16(host: Host) -> ModelConfig:
    return replace(host.loaded.config, precision="bf16")


def test_both_models_answer_in_turns_of_one_machine(host: Host) -> None:
    second = SecondModel(host)
    assert [event.phase for event in second.load(bf16(host))]
    assert (host.loaded.precision, second.host.loaded.precision) == ("fp32", "bf16")
    assert second.host.turn is host.turn
    greedy = SamplingConfig(temperature=0, max_new_tokens=4)
    streams = [each.stream([1, 2, 3], greedy) for each in (host, second.host)]
    assert [sum(len(delta.token_ids) for delta in stream) for stream in streams] == [4, 4]
    second.give_back()


def test_what_is_at_hand_is_not_loaded_again(host: Host) -> None:
    second = SecondModel(host)
    for _ in second.load(bf16(host)):
        pass
    loaded = second.host.loaded
    assert list(second.load(bf16(host))) == []
    assert second.host.loaded is loaded
    second.give_back()


def test_what_does_not_fit_beside_the_first_is_refused_with_the_numbers(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "free_bytes", lambda device: 10**6)
    second = SecondModel(host)
    with pytest.raises(DoesNotFit, match=r"Needs about 0\.2 GB, 0\.0 GB free"):
        list(second.load(bf16(host)))
    assert host.status().state == "ready"
    assert host.loaded.precision == "fp32"


def test_it_is_given_back_when_nobody_asks_for_a_while(host: Host) -> None:
    second = SecondModel(host, idle_seconds=0.2)
    for _ in second.load(bf16(host)):
        pass
    wait_for(lambda: second.host.status().state == "empty", 20)
    assert host.status().state == "ready"


def test_it_is_not_taken_from_a_reply_under_way(host: Host) -> None:
    second = SecondModel(host)
    for _ in second.load(bf16(host)):
        pass
    stream = second.host.stream([1, 2, 3], SamplingConfig(max_new_tokens=400, ignore_eos=True))
    next(stream)
    second.give_back()
    assert second.host.status().state == "ready"
    stream.close()
    wait_for(lambda: second.host.status().n_running == 0, 20)
    second.give_back()
    assert second.host.status().state == "empty"


def test_a_load_that_is_closed_leaves_nothing(host: Host) -> None:
    second = SecondModel(host)
    events = second.load(bf16(host))
    next(events)
    events.close()
    assert second.host.status().state == "empty"


def test_an_adapter_can_be_at_hand_without_answering_for_everybody(host: Host, tiny_adapter: Path) -> None:
    name = host.attach(str(tiny_adapter), answers=False).name
    assert host.adapter is None
    assert name in host.loaded.adapters.names
