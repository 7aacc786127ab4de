"""Who can be compared with whom, and what makes two ways of decoding the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_app.config import ModelConfig, SamplingConfig, ServeConfig, Settings
from llm_app.engine import fit
from llm_app.engine.host import Host
from llm_app.errors import DoesNotFit, UserError
from llm_app.services import Services
from llm_app.web.chat.compare_sides import AdapterKind, DecodingKind, PrecisionKind, decoding, strategy
from tests import tiny


@pytest.fixture
def services(tiny_llama: Path, settings: Settings) -> Iterator[Services]:
    host = Host(settings)
    for _ in host.load(ModelConfig(str(tiny_llama), precision="fp32")):
        pass
    services = Services(settings, ServeConfig(), host)
    yield services
    services.second.give_back()
    host.unload()


def test_strategies_switch_one_rule_on_and_the_others_off() -> None:
    mine = SamplingConfig(temperature=0.6, top_p=0.8, top_k=7, min_p=0.1, repetition_penalty=1.2)
    made = {name: strategy(name, mine) for name in DecodingKind.NAMES}
    assert made["greedy"].is_greedy and made["greedy"].n_beams == 1
    assert (made["beam"].n_beams, made["beam"].temperature) == (4, 0.0)
    assert (made["top_k"].top_k, made["top_k"].top_p, made["top_k"].min_p) == (7, 1.0, 0.0)
    assert (made["nucleus"].top_k, made["nucleus"].top_p, made["nucleus"].min_p) == (0, 0.8, 0.0)
    assert made["settings"] == mine
    assert {each.repetition_penalty for each in made.values()} == {1.2}


def test_what_is_switched_off_gets_the_textbooks_values() -> None:
    off = SamplingConfig(temperature=0.0, top_p=1.0, top_k=0)
    assert (strategy("top_k", off).top_k, strategy("top_k", off).temperature) == (40, 1.0)
    assert (strategy("nucleus", off).top_p, strategy("nucleus", off).temperature) == (0.9, 1.0)


def test_two_configurations_that_choose_alike_are_one_contestant() -> None:
    assert decoding(SamplingConfig(temperature=0, top_p=0.5)) == decoding(SamplingConfig(top_k=1, seed=3))
    assert decoding(SamplingConfig(n_beams=4, temperature=0.3)) == decoding(SamplingConfig(n_beams=4, temperature=0.9))
    assert decoding(SamplingConfig(top_p=0.9)) != decoding(SamplingConfig(top_p=0.8))
    assert decoding(SamplingConfig(stop=("x",))) != decoding(SamplingConfig())


def test_an_adapter_is_attached_on_demand_and_answers_for_nobody_else(
    services: Services, tiny_llama: Path
) -> None:
    tiny.make_adapter(tiny_llama, services.settings.adapters / "mine")
    kind = AdapterKind(services)
    assert kind.offer().chosen == ("", "mine")
    assert [event.phase for event in kind.prepare("", "mine")] == ["reading"]
    assert services.host.adapter is None
    base, tuned = (kind.side(name, SamplingConfig()) for name in ("", "mine"))
    assert (base.adapter, tuned.adapter) == (None, "mine")
    assert base.contestant.identity != tuned.contestant.identity
    assert list(kind.prepare("", "mine")) == []


def test_without_adapters_the_next_step_is_named(services: Services) -> None:
    with pytest.raises(UserError, match="Put a PEFT folder"):
        AdapterKind(services).offer()


def test_an_adapter_is_a_name_from_the_list_never_a_path(services: Services, tiny_adapter: Path) -> None:
    tiny.make_adapter(services.host.loaded.entry.path, services.settings.adapters / "mine")
    with pytest.raises(UserError, match="is not offered"):
        AdapterKind(services).offer().check("", str(tiny_adapter))


def test_two_precisions_are_loaded_side_by_side(services: Services) -> None:
    kind = PrecisionKind(services)
    assert list(kind.prepare("fp32", "bf16"))
    first, second = (kind.side(name, SamplingConfig()) for name in ("fp32", "bf16"))
    assert (first.host.loaded.precision, second.host.loaded.precision) == ("fp32", "bf16")
    assert first.contestant.identity != second.contestant.identity


def test_a_precision_that_does_not_fit_is_refused_with_the_numbers(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "free_bytes", lambda device: 10**6)
    kind = PrecisionKind(services)
    sentence, fits = kind.estimate("bf16")
    assert not fits and "0.2 GB" in sentence[0] and "0.2 GB" in sentence[1]
    with pytest.raises(DoesNotFit, match=r"bf16 beside the loaded model: Needs about 0\.2 GB, 0\.0 GB free"):
        list(kind.prepare("fp32", "bf16"))
    assert services.second.host.status().state == "empty"


def test_gguf_is_offered_for_gguf_files_only(services: Services) -> None:
    names = [name for _, name in PrecisionKind(services).offer().second]
    assert "gguf" not in names and "fp32" not in names and {"bf16", "nf4", "int8"} <= set(names)


def test_a_public_page_compares_no_precisions(services: Services) -> None:
    public = Services(Settings(services.settings.home, is_public=True), services.serve, services.host)
    with pytest.raises(UserError, match="one model in memory"):
        PrecisionKind(public).offer()


@pytest.mark.parametrize("value", [None, 3, {"a": 1}, ["greedy"], "best"])
def test_W6_what_is_not_offered_is_refused(services: Services, value: object) -> None:
    with pytest.raises(UserError, match="is not offered"):
        DecodingKind(services).offer().check("greedy", value)


def test_two_equal_sides_are_no_comparison(services: Services) -> None:
    with pytest.raises(UserError, match="Both sides are the same"):
        DecodingKind(services).offer().check("greedy", "greedy")
