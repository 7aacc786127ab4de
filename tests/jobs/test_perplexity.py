"""Perplexity under a sliding window, against the published recipe run on plain transformers."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from llm_app.cli import main
from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.perplexity import TextScore, score_text, sliding_windows
from tests import tiny
from tests.running import running

TEXT = "the quick brown fox jumps over the lazy dog, and then another thing. 你好，世界！\n" * 12


def scored(host: Host, text: str, **options: Any) -> TextScore:
    *_, last = score_text(host, text, **options)
    assert isinstance(last, TextScore)
    return last


def by_the_recipe(folder: Path, ids: list[int], window: int, stride: int) -> float:
    """Summed log-likelihood of all but the first token.

    Oracle: the loop of "Perplexity of fixed-length models" (transformers), with the model's own loss.
    """
    model = tiny.load_plain(folder)
    total, previous = 0.0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        inputs = torch.tensor([ids[begin:end]])
        labels = inputs.clone()
        labels[:, : -(end - previous)] = -100
        with torch.no_grad():
            logits = model(inputs).logits[0, :-1].double()
        targets = labels[0, 1:]
        total -= float(torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100, reduction="sum"))
        previous = end
        if end == len(ids):
            break
    return total


@pytest.mark.parametrize(("window", "stride"), [(512, 256), (64, 32), (64, 7), (100, 99)])
def test_strided_perplexity_equals_the_recipe_of_transformers(
    window: int, stride: int, tiny_llama: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings) as host:
        score = scored(host, TEXT, window=window, stride=stride)
        model = EngineModel(host)
        ids = [model.prefix_token, *model.text_ids([TEXT])[0]]
    want = by_the_recipe(tiny_llama, ids, window, stride)
    assert score.loglikelihood == pytest.approx(want, rel=1e-5)
    n_bytes = len(TEXT.encode())
    assert score.figures["n_tokens"] == len(ids) - 1
    assert score.figures["token_perplexity"] == pytest.approx(math.exp(-want / (len(ids) - 1)), rel=1e-4)
    assert score.figures["byte_perplexity"] == pytest.approx(math.exp(-want / n_bytes), rel=1e-4)
    assert score.figures["bits_per_byte"] == pytest.approx(-want / n_bytes / math.log(2), rel=1e-4)


@pytest.mark.parametrize("n", [1, 2, 9, 10, 11, 40])
@pytest.mark.parametrize(("window", "stride"), [(10, 10), (10, 5), (10, 1), (10, 7), (2, 2)])
def test_every_token_but_the_first_is_scored_once_and_windows_are_never_too_long(
    n: int, window: int, stride: int
) -> None:
    ids = list(range(n))
    pairs = list(sliding_windows(ids, window, stride))
    assert [token for _, targets in pairs for token in targets] == ids[1:]
    for context, targets in pairs:
        assert context and targets and [*context, *targets] == ids[context[0] : targets[-1] + 1]
        # The last target is predicted, not read.
        assert len(context) + len(targets) - 1 <= window


def test_a_stride_of_a_whole_window_gives_the_figure_of_rolling_scores(tiny_llama: Path, settings: Settings) -> None:
    with running(tiny_llama, settings) as host:
        score = scored(host, TEXT[:200], window=512, stride=512)
        ((_, rolling),) = EngineModel(host).rolling([TEXT[:200]], {0})
    assert score.loglikelihood == pytest.approx(rolling, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "options", "problem"),
    [
        ("", {}, "The text is empty"),
        ("a b", {"window": 513}, "must hold 2 to 512 tokens"),
        ("a b", {"window": 1}, "must hold 2 to 512 tokens"),
        ("a b", {"window": 8, "stride": 9}, "stride must be 1 to 8"),
        ("a b", {"stride": 0}, "stride must be 1 to"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    text: str, options: dict[str, Any], problem: str, tiny_llama: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings) as host, pytest.raises(UserError, match=problem):
        scored(host, text, **options)


def test_the_command_prints_each_figure_by_its_name(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROOFBENCH_HOME", str(tmp_path / "home"))
    file = tmp_path / "text.txt"
    file.write_text(TEXT, encoding="utf-8")
    command = ["perplexity", str(file), "--model", str(tiny_llama), "--precision", "fp32"]
    assert main([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert main(command) == 0
    shown = capsys.readouterr().out
    for name in ("token_perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert f"{name.replace('_', ' '):<18}{data[name]:.4f}" in shown


def test_a_file_that_is_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(b"\xff\xfe")
    assert main(["perplexity", str(file)]) == 2
    assert "is not UTF-8 text" in capsys.readouterr().err
