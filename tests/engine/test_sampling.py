"""Sampling against the processors and warpers of transformers."""

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llm_app.config import SamplingConfig
from llm_app.engine.sampling import Sampler, choose, distribution
from llm_app.errors import UserError

N_WORDS = 500


def logits(rows: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, N_WORDS, generator=torch.Generator().manual_seed(seed)) * 3


def dense(config: SamplingConfig, values: torch.Tensor) -> torch.Tensor:
    """Our distribution over the whole vocabulary."""
    probabilities, ids = distribution(values, [config])
    return torch.zeros_like(values).scatter(-1, ids, probabilities)[0]


@pytest.mark.parametrize(
    "config",
    [
        SamplingConfig(temperature=0.7, top_k=20, top_p=0.95),
        SamplingConfig(temperature=1.5, top_k=0, top_p=0.8),
        SamplingConfig(temperature=1.0, top_k=0, top_p=1.0, min_p=0.1),
        SamplingConfig(temperature=0.3, top_k=200, top_p=0.5, min_p=0.05),
        SamplingConfig(temperature=2.0, top_k=1, top_p=0.01),
        SamplingConfig(temperature=1.0, top_k=0, top_p=1.0),
    ],
)
def test_the_distribution_drawn_from_equals_that_of_transformers(config: SamplingConfig) -> None:
    warpers = LogitsProcessorList([TemperatureLogitsWarper(config.temperature)])
    if config.top_k:
        warpers.append(TopKLogitsWarper(config.top_k))
    if config.top_p < 1.0:
        warpers.append(TopPLogitsWarper(config.top_p))
    if config.min_p > 0.0:
        warpers.append(MinPLogitsWarper(config.min_p))
    for seed in range(20):
        values = logits(seed=seed)
        want = warpers(torch.zeros(1, 1, dtype=torch.long), values.clone()).softmax(-1)[0]
        assert torch.allclose(dense(config, values), want, atol=1e-6)


def test_rows_with_different_rules_do_not_disturb_each_other() -> None:
    configs = [
        SamplingConfig(top_k=5),
        SamplingConfig(top_k=0, top_p=0.5),
        SamplingConfig(top_k=50, min_p=0.2, top_p=1.0),
    ]
    values = logits(3)
    probabilities, ids = distribution(values, configs)
    together = torch.zeros_like(values).scatter(-1, ids, probabilities)
    for row, config in enumerate(configs):
        assert torch.allclose(together[row], dense(config, values[row : row + 1]), atol=1e-6)


def test_repetition_penalty_and_banned_ngrams_equal_transformers() -> None:
    prompt, said = [3, 4, 5, 3, 4], [9, 5, 3, 4]
    sampler = Sampler(SamplingConfig(repetition_penalty=1.4, no_repeat_ngram=3), prompt, seed=0)
    for token in said:
        sampler.accept(token)
    values = logits()
    ids = torch.tensor([prompt + said])
    want = RepetitionPenaltyLogitsProcessor(1.4)(ids, values.clone())
    want = NoRepeatNGramLogitsProcessor(3)(ids, want)
    got = values[0].clone()
    sampler.penalise(got)
    assert torch.equal(torch.isinf(got), torch.isinf(want[0])) and bool(torch.isinf(got).any())
    assert torch.allclose(got.nan_to_num(neginf=0.0), want[0].nan_to_num(neginf=0.0))


def test_presence_and_frequency_penalties_follow_the_published_formula() -> None:
    # OpenAI's API reference: mu[j] - c[j] * alpha_frequency - (c[j] > 0) * alpha_presence, over the reply alone.
    sampler = Sampler(SamplingConfig(presence_penalty=0.5, frequency_penalty=0.25), [7, 7, 7], seed=0)
    for token in (1, 1, 2):
        sampler.accept(token)
    values = torch.zeros(N_WORDS)
    sampler.penalise(values)
    assert values[1] == -1.0 and values[2] == -0.75 and values[7] == 0.0


def test_draws_follow_the_distribution() -> None:
    config = SamplingConfig(temperature=1.0, top_k=4, top_p=1.0)
    values = logits()
    sampler = Sampler(config, [0], seed=5)
    n = 4000
    counts = torch.zeros(N_WORDS)
    for _ in range(n):
        counts[choose(values.clone(), [sampler])[0].token_id] += 1
    want = dense(config, values)
    spread = (want * (1 - want) / n).sqrt()
    assert bool(((counts / n - want).abs() <= 4 * spread + 1e-9).all())


def test_the_same_seed_draws_the_same_tokens_whoever_shares_the_batch() -> None:
    config = SamplingConfig(temperature=1.0, top_k=0, top_p=1.0)
    alone, among = Sampler(config, [0], seed=3), Sampler(config, [0], seed=3)
    others = [Sampler(SamplingConfig(top_k=20), [0], seed=i) for i in range(4)]
    for step in range(20):
        values = logits(5, seed=step)
        assert choose(values[:1].clone(), [alone])[0] == choose(values.clone(), [among, *others])[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("temperature", 1e9),
        ("temperature", "1"),
        ("temperature", True),
        ("top_p", -1.0),
        ("top_p", 0.0),
        ("top_p", 2.0),
        ("top_k", -5),
        ("top_k", 1.5),
        ("repetition_penalty", 0.0),
        ("stop", ("",)),
        ("stop", tuple("abcdefghijklmnopqrstuvwxyz")),
        ("max_new_tokens", 0),
        ("seed", -1),
        ("seed", 2**70),
        ("n_beams", 0),
    ],
)
def test_C12_a_sampling_value_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(UserError, match=name) as refused:
        SamplingConfig(**{name: value})  # type: ignore[arg-type]
    assert refused.value.param == name


def test_C12_temperature_zero_takes_the_most_likely_token() -> None:
    values = logits()
    sampler = Sampler(SamplingConfig(temperature=0.0), [0], seed=0)
    assert choose(values.clone(), [sampler])[0].token_id == int(values.argmax())
