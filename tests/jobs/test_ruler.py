"""One ruler for precisions, against plain transformers in float32 and bfloat16."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr

from eval.statistics import wilson_interval
from eval.types import Result
from llm_app.cli import main
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.jobs.ruler import WINDOW, Ask, Refused, Row, Working, interval_of, kl_divergence, measure, own_text
from tests import tiny

TEXT = "the quick brown fox jumps over the lazy dog, and then another thing. " * 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_model(tmp_path_factory.mktemp("models") / "tiny", n_context=1024)


def rows(folder: Path, settings: Settings, precisions: list[str], ask: Ask) -> list[Row | Refused]:
    host = Host(settings)
    found = [made for made in measure(host, ModelConfig(str(folder)), precisions, ask) if not isinstance(made, Working)]
    assert host.status().state == "empty"
    return found


def logits_of(folder: Path, dtype: torch.dtype, ids: list[int]) -> np.ndarray:
    """Logits of transformers alone after each token of windows that begin with the prefix token, in float64."""
    model = tiny.load_plain(folder).to(dtype)
    prefix = tiny.make_tokenizer().eos_token_id
    parts = []
    for start in range(0, len(ids), WINDOW):
        window = [prefix, *ids[start : start + WINDOW]]
        with torch.no_grad():
            parts.append(model(torch.tensor([window])).logits[0, :-1].double().numpy())
    return np.concatenate(parts)


@pytest.mark.parametrize("max_tokens", [300, 700])
def test_perplexity_divergence_and_agreement_equal_those_of_transformers(
    max_tokens: int, folder: Path, settings: Settings
) -> None:
    exact, rounded = rows(folder, settings, ["fp32", "bf16"], Ask(TEXT, max_tokens))
    assert isinstance(exact, Row) and isinstance(rounded, Row)
    ids = tiny.make_tokenizer().encode(TEXT)[:max_tokens]
    p = log_softmax(logits_of(folder, torch.float32, ids), axis=-1)
    q = log_softmax(logits_of(folder, torch.bfloat16, ids), axis=-1)
    assert exact.n_tokens == rounded.n_tokens == len(ids)
    for row, logprobs, rel in ((exact, p, 1e-5), (rounded, q, 0.02)):
        want = math.exp(-logprobs[np.arange(len(ids)), ids].mean())
        assert row.token_perplexity == pytest.approx(want, rel=rel)
    assert (exact.kl, exact.agreement) == (0.0, 1.0)
    # Oracle of the sum: scipy's relative entropy. Both programs round to bf16, in other places: the size is the same.
    divergence = rel_entr(np.exp(p), np.exp(q)).sum(-1).mean()
    assert rounded.kl == pytest.approx(divergence, rel=0.5) and divergence > 1e-6
    assert rounded.agreement == pytest.approx((p.argmax(-1) == q.argmax(-1)).mean(), abs=0.02)


def test_divergence_equals_scipys_relative_entropy_and_impossible_tokens_add_nothing() -> None:
    generator = np.random.default_rng(0)
    p, q = (log_softmax(generator.normal(size=(70, 50)) * 3, axis=-1).astype(np.float32) for _ in range(2))
    assert kl_divergence(p, q) == pytest.approx(rel_entr(np.exp(p), np.exp(q)).sum(), rel=1e-5)
    p[:, 7] = q[:, 7] = -np.inf
    rest = [np.delete(logprobs, 7, axis=1) for logprobs in (p, q)]
    assert kl_divergence(p, q) == pytest.approx(kl_divergence(*rest), rel=1e-9)


def test_precisions_that_a_model_does_not_have_are_refused_and_the_rest_goes_on(
    folder: Path, settings: Settings
) -> None:
    found = rows(folder, settings, ["gguf", "bf16"], Ask(TEXT, 64))
    assert [type(row) for row in found] == [Refused, Row]
    assert isinstance(found[0], Refused) and found[0].reason.startswith("Precision gguf keeps the blocks")
    # fp32 was not asked for, and is the measure all the same.
    assert isinstance(found[1], Row) and found[1].kl is not None and found[1].kl > 0


def test_quantised_precisions_are_measured_against_fp32(folder: Path, settings: Settings) -> None:
    found = rows(folder, settings, ["fp32", "int8", "nf4"], Ask(TEXT, 200))
    by_name = {row.precision: row for row in found if isinstance(row, Row)}
    assert by_name.keys() == {"fp32", "int8", "nf4"}
    # Fewer bits, less memory, more divergence.
    weights = [by_name[name].weights_bytes for name in ("fp32", "int8", "nf4")]
    divergence = [by_name[name].kl or 0.0 for name in ("fp32", "int8", "nf4")]
    assert weights == sorted(weights, reverse=True) and divergence == sorted(divergence)


def test_a_packed_file_is_measured_against_its_own_weights_in_fp32(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    file = tiny.make_gguf(folder, tmp_path / "tiny.gguf", kind="Q8_0")
    found = rows(file, settings, ["gguf"], Ask(TEXT, 100))
    (row,) = found
    assert isinstance(row, Row) and row.kl is not None and 0 <= row.kl < 0.01


def test_a_task_is_scored_with_its_interval_in_every_precision(folder: Path, hub_data: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", data=hub_data)
    found = rows(folder, settings, ["fp32", "bf16"], Ask(TEXT, 32, task="arc_easy", limit=20))
    for row in found:
        assert isinstance(row, Row) and row.metric == "arc_easy acc" and row.score is not None
        assert row.score == wilson_interval(round(row.score.estimate * 20), 20)


def test_scores_that_are_no_mean_get_the_interval_of_their_own_error() -> None:
    results = [Result(i, (), {"mcc,none": (i % 2, 1)}) for i in range(4)]
    made = {"mcc,none": 0.3, "mcc_stderr,none": 0.1}
    interval = interval_of("mcc,none", made, results)
    assert (interval.estimate, interval.low, interval.high) == (0.3, pytest.approx(0.104), pytest.approx(0.496))


def test_the_command_prints_a_row_for_each_precision_and_refusals_beside(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path))
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    command = ["precisions", "--model", str(folder), "--text", str(file), "--tokens", "64"]
    assert main([*command, "--precisions", "fp32,gguf"]) == 0
    shown = capsys.readouterr()
    assert "| fp32 | " in shown.out and "gguf" not in shown.out and shown.err.startswith("gguf: Precision gguf keeps")
    assert main([*command, "--precisions", "bf16", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [row["precision"] for row in data["rows"]] == ["bf16"] and data["rows"][0]["n_tokens"] == 64


def test_an_unknown_precision_is_refused_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["precisions", "--precisions", "int3"]) == 2
    assert "not int3" in capsys.readouterr().err


def test_the_project_brings_a_text_to_measure_with() -> None:
    assert len(own_text().split()) > 1000
