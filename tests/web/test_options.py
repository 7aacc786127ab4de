"""From option dataclass to form and back."""

from typing import Any

import gradio as gr
import pytest

from llm_app.classify.entities.config import EntityConfig
from llm_app.config import SamplingConfig
from llm_app.errors import UserError
from llm_app.options import options_of
from llm_app.training.config import TrainConfig
from llm_app.web.options import build_form, read

NAMES = [field.name for field, _ in options_of(SamplingConfig)]
DEFAULTS = {"temperature": 0.7, "top_p": 0.95, "max_new_tokens": 512, "top_k": 20, "min_p": 0, "repetition_penalty": 1,
            "presence_penalty": 0, "frequency_penalty": 0, "no_repeat_ngram": 0, "n_beams": 1, "stop": "", "seed": "",
            "reply_prefix": ""}  # fmt: skip


def values(**changed: Any) -> list[Any]:
    return [(DEFAULTS | changed)[name] for name in NAMES]


def test_an_untouched_form_is_the_default_config() -> None:
    assert read(SamplingConfig, values()) == SamplingConfig()


def test_a_filled_form_is_read_back() -> None:
    config = read(
        SamplingConfig, values(temperature=0, seed=" 42 ", stop="END\n\nUser:", top_k=5.0, reply_prefix="Sure")
    )
    assert config == SamplingConfig(temperature=0, seed=42, stop=("END", "User:"), top_k=5, reply_prefix="Sure")


def test_the_largest_seed_survives_the_form() -> None:
    assert read(SamplingConfig, values(seed=str(2**63 - 1))).seed == 2**63 - 1


@pytest.mark.parametrize(("name", "value"), [
    ("temperature", None), ("temperature", "0.7"), ("temperature", True), ("temperature", float("nan")),
    ("temperature", -0.1), ("temperature", 1e9), ("top_p", 2), ("top_p", {}),
    ("max_new_tokens", 0), ("max_new_tokens", 1.5),
    ("top_k", -5), ("top_k", 10**30), ("repetition_penalty", 0), ("n_beams", 9), ("seed", "1_000"),
    ("seed", "٣"), ("seed", 3),
    ("seed", "-1"), ("seed", str(2**63)), ("stop", ["a"]),
    ("stop", "\n".join("abcdefghijklmnopq")), ("stop", "x" * 257),
    ("reply_prefix", 5),
])  # fmt: skip
def test_C12_a_value_that_cannot_be_is_refused_by_the_name_of_its_field(name: str, value: Any) -> None:
    with pytest.raises(UserError) as refused:
        read(SamplingConfig, values(**{name: value}))
    assert refused.value.param == name


def test_a_form_with_missing_fields_is_refused() -> None:
    with pytest.raises(UserError):
        read(SamplingConfig, [])


def test_a_rate_without_a_step_is_typed_since_a_slider_would_have_its_ends_only() -> None:
    names = [field.name for field, _ in options_of(EntityConfig)]
    with gr.Blocks():
        control = build_form(EntityConfig).controls[names.index("learning_rate")]
    assert isinstance(control, gr.Number) and control.precision is None


def test_everyday_options_are_in_sight_and_the_rest_is_folded() -> None:
    with gr.Blocks() as page:
        form = build_form(SamplingConfig)
    folded = {c for block in page.blocks.values() if isinstance(block, gr.Accordion) for c in _below(block)}
    for control, (_, info) in zip(form.controls, options_of(SamplingConfig), strict=True):
        assert (control in folded) == info.advanced


def _below(block: Any) -> list[Any]:
    found = []
    for child in getattr(block, "children", []):
        found += [child, *_below(child)]
    return found


@pytest.mark.parametrize(("typed", "rate"), [
    ("", None), ("2e-4", 2e-4), (" 0.001 ", 0.001), ("1E-3", 1e-3), (".5", 0.5),
])  # fmt: skip
def test_a_number_that_may_be_empty_is_read_as_it_is_typed(typed: str, rate: float | None) -> None:
    assert read(TrainConfig, training(learning_rate=typed)).learning_rate == rate


@pytest.mark.parametrize("typed", ["nan", "inf", "1_0", "٣", "2e", "0x1", "-1", "1" * 30, 3, True])
def test_a_learning_rate_that_is_none_is_refused_by_its_name(typed: Any) -> None:
    with pytest.raises(UserError) as refused:
        read(TrainConfig, training(learning_rate=typed))
    assert refused.value.param == "learning_rate"


def training(**changed: Any) -> list[Any]:
    """The form of a training run as it opens."""
    with gr.Blocks():
        controls = build_form(TrainConfig, "tune").controls
    names = [field.name for field, _ in options_of(TrainConfig)]
    return [changed.get(name, control.value) for name, control in zip(names, controls, strict=True)]
