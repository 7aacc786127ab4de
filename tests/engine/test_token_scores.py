"""Scores of single tokens against transformers' own forward pass over the whole text."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.engine.token_scores import TokenScore, start_token, token_scores
from llm_app.errors import ContextLengthExceeded, UserError
from tests import tiny

TEXT = "the quick brown fox 你好 jumps over the lazy dog and then another thing that they wanted to say"


@pytest.fixture(scope="module")
def host(tiny_llama: Path, tiny_adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(tiny_llama), precision="fp32")):
        pass
    host.attach(str(tiny_adapter))
    yield host
    host.unload()


def ids_of(host: Host, text: str = TEXT) -> list[int]:
    return list(host.loaded.tokenizer(text, add_special_tokens=False)["input_ids"])


def scored(host: Host, context: list[int], ids: list[int], adapter: str | None = None) -> list[TokenScore]:
    return list(token_scores(host.loaded, host.turn, context, ids, adapter=adapter))


def reference(model: torch.nn.Module, context: list[int], ids: list[int]) -> torch.Tensor:
    """Log-probabilities before each token of `ids`, by transformers and torch alone, in float64."""
    with torch.inference_mode():
        logits = model(torch.tensor([context + ids])).logits[0].double()
    return torch.log_softmax(logits, -1)[len(context) - 1 : -1]


def test_probabilities_equal_those_of_transformers(host: Host, tiny_llama: Path) -> None:
    ids = ids_of(host)
    found = scored(host, ids[:7], ids[7:])
    expected = reference(tiny.load_plain(tiny_llama), ids[:7], ids[7:])
    assert [s.token_id for s in found] == ids[7:]
    assert [s.logprob for s in found] == pytest.approx(
        [float(row[token]) for row, token in zip(expected, ids[7:], strict=True)], abs=1e-4
    )


def test_entropy_is_that_of_the_whole_vocabulary_in_nats(host: Host, tiny_llama: Path) -> None:
    ids = ids_of(host)
    expected = reference(tiny.load_plain(tiny_llama), ids[:1], ids[1:])
    by_torch = torch.distributions.Categorical(logits=expected).entropy().tolist()
    assert [s.entropy for s in scored(host, ids[:1], ids[1:])] == pytest.approx(by_torch, abs=1e-4)


def test_alternatives_and_rank_are_those_of_a_sorted_vocabulary(host: Host, tiny_llama: Path) -> None:
    ids = ids_of(host)
    expected = reference(tiny.load_plain(tiny_llama), ids[:1], ids[1:])
    for score, row in zip(scored(host, ids[:1], ids[1:]), expected, strict=True):
        order = row.argsort(descending=True).tolist()
        assert [t.token_id for t in score.top] == order[:5]
        assert [t.logprob for t in score.top] == pytest.approx([float(row[t]) for t in order[:5]], abs=1e-4)
        assert score.rank == order.index(score.token_id) + 1


def test_a_long_text_is_scored_across_chunks_as_in_one_pass(host: Host, tiny_llama: Path) -> None:
    ids = (ids_of(host) * 20)[:500]
    expected = reference(tiny.load_plain(tiny_llama), ids[:300], ids[300:])
    values = [float(row[token]) for row, token in zip(expected, ids[300:], strict=True)]
    assert [s.logprob for s in scored(host, ids[:300], ids[300:])] == pytest.approx(values, abs=1e-4)


def test_an_adapter_scores_as_peft_does(host: Host, tiny_llama: Path, tiny_adapter: Path) -> None:
    from peft import PeftModel

    ids = ids_of(host)
    tuned = PeftModel.from_pretrained(tiny.load_plain(tiny_llama), tiny_adapter).eval()
    expected = reference(tuned, ids[:1], ids[1:])
    values = [float(row[token]) for row, token in zip(expected, ids[1:], strict=True)]
    found = [s.logprob for s in scored(host, ids[:1], ids[1:], adapter=host.adapter)]
    assert found == pytest.approx(values, abs=1e-3)
    assert found != pytest.approx([s.logprob for s in scored(host, ids[:1], ids[1:])], abs=1e-3)


def test_the_bytes_of_all_tokens_are_those_of_the_text(host: Host) -> None:
    found = scored(host, [start_token(host.loaded)], ids_of(host))
    assert b"".join(s.data for s in found).decode() == TEXT


def test_the_mean_logprob_gives_the_loss_of_transformers(host: Host, tiny_llama: Path) -> None:
    ids = [start_token(host.loaded), *ids_of(host)]
    batch = torch.tensor([ids])
    with torch.inference_mode():
        loss = float(tiny.load_plain(tiny_llama)(batch, labels=batch).loss)
    found = [s.logprob for s in scored(host, ids[:1], ids[1:])]
    assert -math.fsum(found) / len(found) == pytest.approx(loss, abs=1e-4)


def test_a_text_longer_than_the_context_is_refused_with_both_numbers(host: Host) -> None:
    with pytest.raises(ContextLengthExceeded, match=r"513 tokens.*512"):
        scored(host, [1], [5] * 512)


@pytest.mark.parametrize(("context", "ids"), [([], [1]), ([1], [])])
def test_nothing_to_score_is_said(host: Host, context: list[int], ids: list[int]) -> None:
    with pytest.raises(UserError, match="no text"):
        scored(host, context, ids)
