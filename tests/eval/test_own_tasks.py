"""A data file and a task file become a task; its scores are those of the metrics, its errors one sentence."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api import metrics as harness
from sklearn.metrics import f1_score, matthews_corrcoef

from eval.compare.measure import Measure, is_known, measure
from eval.compare.run import Metric
from eval.metrics.bleu.score import bleu, bleu_counts
from eval.metrics.chrf.score import chrf, chrf_counts, chrf_of_counts
from eval.metrics.classification.score import class_counts, macro_f1_of_counts, mcc_of_counts
from eval.metrics.diversity.score import diversity
from eval.metrics.exact_match.score import exact_match
from eval.metrics.perplexity.score import perplexity
from eval.metrics.rouge.score import rouge
from eval.runner import evaluate
from eval.tasks.harness import HarnessTask, TaskOptions, load_tasks
from eval.types import EvaluationError, Result
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.jobs.answers import EngineModel
from tests import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineModel]:
    folder = tiny.make_model(tmp_path_factory.mktemp("models") / "tiny")
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(folder), precision="fp32")):
        pass
    yield EngineModel(host)
    host.unload()


def write(folder: Path, task: str, data: str, name: str = "data.jsonl") -> Path:
    """A task called t on this data."""
    (folder / name).write_text(data, encoding="utf-8")
    path = folder / "t.yaml"
    path.write_text(f"name: t\ndata: {name}\n{task}", encoding="utf-8")
    return path


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def load(path: Path, model: EngineModel | None = None, **options: Any) -> HarnessTask:
    return load_tasks([str(path)], TaskOptions(**options), data=None, model=model).tasks["t"]


def answered(task: HarnessTask, answers: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Scores if the model gave these answers."""
    results = [
        Result(sample.id, given, task.score(sample, given)) for sample, given in zip(task.samples, answers, strict=True)
    ]
    return task.aggregate(results, n_bootstrap=200)


TEXTS = (
    ["The cat sat on a mat.", "He left.", ""], [["The cat sat on the mat.", "A cat sat."], ["He went away."], ["Yes."]]
)


def test_generated_text_is_scored_as_the_metrics_say(tmp_path: Path) -> None:
    rows = [{"source": f"s{n}", "target": given} for n, given in enumerate(TEXTS[1])]
    task = load(write(tmp_path, "kind: generation\n", lines(*rows)))
    assert task.samples[0].requests[0].text == "Input: s0\nOutput:"
    scores = answered(task, [(text,) for text in TEXTS[0]])
    assert scores["bleu,none"] == pytest.approx(bleu(*TEXTS)["score"])
    assert scores["chrf,none"] == pytest.approx(chrf(*TEXTS)["score"])
    for name, value in rouge(*TEXTS).items():
        assert scores[f"{name},none"] == pytest.approx(value)
    variety = diversity(TEXTS[0])
    assert scores["distinct_1,none"] == variety["distinct_1"] and scores["distinct_2,none"] == variety["distinct_2"]
    assert scores["repeated_4,none"] == variety["repeated_4"]
    assert scores["bleu_stderr,none"] > 0 and scores["rougeL_stderr,none"] > 0
    signatures = task.config()["metadata"]["signatures"]
    assert signatures["bleu"] == bleu(*TEXTS)["signature"] and "nrefs:var" in signatures["chrf"]


def test_chinese_references_are_cut_into_characters_for_bleu(tmp_path: Path) -> None:
    rows = [{"source": "a", "target": "我们昨天去了北京。"}, {"source": "b", "target": "他喜欢读书和跑步。"}]
    task = load(write(tmp_path, "kind: generation\nlanguage: zh-CN\n", lines(*rows)))
    texts = ["昨天我们去了北京。", "他喜欢看书和跑步。"]
    assert answered(task, [(text,) for text in texts])["bleu,none"] == pytest.approx(
        bleu(texts, [row["target"] for row in rows], tokenize="zh")["score"]
    )
    assert "tok:zh" in task.config()["metadata"]["signatures"]["bleu"]


def test_short_answers_are_scored_by_their_first_line_against_the_best_reference(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": ["Paris", "the city of Paris"]}, {"question": "r", "answer": 7}]
    task = load(write(tmp_path, "kind: exact_match\n", lines(*rows)))
    scores = answered(task, [("\n The city of Paris.\nQuestion: x",), ("it is 7",)])
    want = exact_match(["The city of Paris.", "it is 7"], [["Paris", "the city of Paris"], ["7"]])
    assert (scores["exact_match,none"], scores["f1,none"]) == pytest.approx((want["exact_match"], want["f1"]))


def test_perplexities_are_those_of_the_metric_and_of_the_harness(tmp_path: Path, model: EngineModel) -> None:
    texts = ["the quick brown fox", "hello world, how are you today?"]
    task = load(write(tmp_path, "kind: perplexity\n", lines(*({"text": text} for text in texts))), model)
    results = sorted(evaluate(task, model), key=lambda result: result.sample)
    scores = task.aggregate(results, n_bootstrap=200)
    sums = [result.answers[0] for result in results]
    want = perplexity(sums, model.count_tokens(texts), texts)  # type: ignore[arg-type]
    for name in ("token_perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert scores[f"{name},none"] == pytest.approx(want[name])  # type: ignore[literal-required]
        assert scores[f"{name}_stderr,none"] > 0
    pairs = [(value, len(text.encode())) for value, text in zip(sums, texts, strict=True)]
    assert scores["byte_perplexity,none"] == pytest.approx(harness.weighted_perplexity(pairs))
    assert scores["bits_per_byte,none"] == pytest.approx(harness.bits_per_byte(pairs))


def test_a_text_without_spaces_between_words_has_no_word_perplexity(tmp_path: Path) -> None:
    task = load(write(tmp_path, "kind: perplexity\nlanguage: zh\n", lines({"text": "你好"})))
    assert "word_perplexity" not in task.harness.aggregation()


LABELS = "kind: classification\nlabels: {0: bad, 1: good, 2: fair}\n"


def test_classes_are_scored_as_scikit_learn_does(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "label": label} for n, label in enumerate((0, 1, 1, 0, 1, 0))]
    task = load(write(tmp_path, LABELS, lines(*rows)))
    assert [request.continuation for request in task.samples[0].requests] == [" bad", " good", " fair"]
    guesses = [0, 1, 2, 1, 1, 0]
    scores = answered(task, [tuple((-1.0 if n == guess else -2.0, False) for n in range(3)) for guess in guesses])
    truths = [row["label"] for row in rows]
    assert scores["acc,none"] == pytest.approx(4 / 6)
    assert scores["macro_f1,none"] == pytest.approx(f1_score(truths, guesses, average="macro"))
    assert scores["mcc,none"] == pytest.approx(matthews_corrcoef(truths, guesses))
    assert scores["macro_f1_stderr,none"] > 0 and scores["mcc_stderr,none"] > 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_f1_and_mcc_of_summed_counts_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truths, guesses = zip(*pairs, strict=True)
    totals = class_counts(guesses, truths, 4).sum(axis=0)
    assert float(macro_f1_of_counts(totals)) == pytest.approx(f1_score(truths, guesses, average="macro"))
    want = matthews_corrcoef(truths, guesses) if len({*truths, *guesses}) > 1 else 0.0
    assert float(mcc_of_counts(totals)) == pytest.approx(want)


def test_chrf_of_summed_counts_is_corpus_chrf() -> None:
    counts = chrf_counts(*TEXTS)
    assert float(chrf_of_counts(counts.sum(axis=0))) == pytest.approx(chrf(*TEXTS)["score"])


def test_the_standard_error_of_a_corpus_score_is_its_spread_over_resamples(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [{"text": f"t{n}", "label": int(n % 2)} for n in range(60)]
    right = rng.random(60) < 0.7
    task = load(write(tmp_path, "kind: classification\nlabels: {0: a, 1: b}\n", lines(*rows)))
    guesses = [row["label"] if hit else 1 - row["label"] for row, hit in zip(rows, right, strict=True)]
    scores = answered(task, [((-1.0 - g, False), (-2.0 + g, False)) for g in guesses])
    draws = [rng.integers(60, size=60) for _ in range(2000)]
    truths = np.array([row["label"] for row in rows])
    spread = np.std([f1_score(truths[d], np.array(guesses)[d], average="macro") for d in draws])
    assert scores["macro_f1_stderr,none"] == pytest.approx(spread, rel=0.2)  # oracle: a plain bootstrap


CHOICES = (
    {"question": "a?", "choices": ["x", "yy"], "answer": 1},
    {"question": "b?", "choices": ["1", "2", "3"], "answer": 0},
)


@pytest.mark.parametrize("form", ["text", "letter", "from_0", "from_1"])
def test_the_right_choice_may_be_said_as_text_letter_or_number(form: str, tmp_path: Path) -> None:
    said = {"text": ["no", "go"], "letter": ["B", "a"], "from_0": [1, 0], "from_1": [2, 1]}[form]
    rows = [{"question": "q", "choices": ["go", "no"], "answer": answer} for answer in said]
    task = load(write(tmp_path, "kind: multiple_choice\n", lines(*rows)))
    assert [row["target"] for row in task.harness.eval_docs] == [1, 0]


def test_numbers_that_could_count_from_0_or_1_are_asked_about(tmp_path: Path) -> None:
    rows = [{"question": "q", "choices": ["a", "b", "c"], "answer": 1}]
    with pytest.raises(EvaluationError, match="could count from 0 or from 1; write `answers: from_0` or"):
        load(write(tmp_path, "kind: multiple_choice\n", lines(*rows)))


def test_choices_are_scored_as_the_harness_does(tmp_path: Path) -> None:
    task = load(write(tmp_path, "kind: multiple_choice\nanswers: from_0\n", lines(*CHOICES)))
    scores = answered(task, [((-3.0, False), (-4.0, False)), ((-1.0, False), (-2.0, False), (-3.0, False))])
    assert (scores["acc,none"], scores["acc_norm,none"]) == (0.5, 1.0)  # -4 over two characters beats -3 over one
    assert scores["acc_stderr,none"] == harness.mean_stderr([0.0, 1.0])


def test_a_prompt_that_lists_the_choices_is_answered_by_letter(tmp_path: Path) -> None:
    task = load(write(
        tmp_path, 'kind: multiple_choice\nanswers: from_0\nprompt: "{{question}}\\n{{choices}}\\nAnswer:"\n',
        lines(*CHOICES),
    ))
    assert task.samples[1].requests[2].text == "b?\nA. 1\nB. 2\nC. 3\nAnswer:"
    assert [request.continuation for request in task.samples[0].requests] == [" A", " B"]


def test_a_table_gives_choices_and_references_in_several_columns(tmp_path: Path) -> None:
    data = 'q,A,B,C,right\n"which, then?",x,"y\nz",,B\n'
    task = "kind: multiple_choice\ncolumns: {question: q, choices: [A, B, C], answer: right}\n"
    path = write(tmp_path, task, data, "d.csv")
    (doc,) = load(path).harness.eval_docs
    assert doc["choices"] == ["x", "y\nz"] and doc["target"] == 1 and "which, then?" in doc["prompt"]
    data = "en\tfr1\tfr2\nYes\tOui\tSi\nNo\tNon\t\n"
    path = write(tmp_path, "kind: generation\ncolumns: {source: en, target: [fr1, fr2]}\n", data, "d.tsv")
    assert [doc["target"] for doc in load(path).harness.eval_docs] == [["Oui", "Si"], ["Non"]]


def test_examples_of_their_own_file_stand_before_every_question_in_order(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text(lines({"text": "good day", "label": "1"}, {"text": "bad day", "label": "0"}))
    rows = [{"text": "q", "label": 0}, {"text": "r", "label": 1}]
    task = load(write(tmp_path, "kind: classification\nexamples: e.jsonl\n", lines(*rows)))
    first, second = "Text: good day\nLabel: 1\n\n", "Text: bad day\nLabel: 0\n\n"
    assert task.n_shots == 2
    assert [s.requests[0].text for s in task.samples] == [f"{first}{second}Text: {x}\nLabel:" for x in "qr"]
    assert load(tmp_path / "t.yaml", n_shots=1).samples[0].requests[0].text == f"{first}Text: q\nLabel:"


def test_without_such_a_file_examples_are_other_rows_never_the_question_itself(tmp_path: Path) -> None:
    rows = [{"text": f"text{n}", "label": n % 2} for n in range(4)]
    task = load(write(tmp_path, "kind: classification\n", lines(*rows)), n_shots=3)
    for number, sample in enumerate(task.samples):
        assert sample.requests[0].text.count(f"text{number}") == 1
    with pytest.raises(EvaluationError, match="4 shots need as many examples, but there are 3"):
        load(tmp_path / "t.yaml", n_shots=4)


def test_the_chat_template_is_used_as_for_other_tasks(tmp_path: Path, model: EngineModel) -> None:
    path = write(tmp_path, "kind: exact_match\n", lines({"question": "why", "answer": "so"}))
    text = load(path, model, uses_chat_template=True).samples[0].requests[0].text
    assert text == "<|im_start|>user\nQuestion: why\nAnswer:<|im_end|>\n<|im_start|>assistant\n"


def test_the_digest_changes_with_the_data_the_examples_and_the_task_file(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": 1}]
    digests = {load(write(tmp_path, "kind: classification\n", lines(*rows))).digest()}
    assert load(tmp_path / "t.yaml").digest() in digests
    changed = [{**rows[0], "label": 1}, rows[1]]
    digests.add(load(write(tmp_path, "kind: classification\nlabels: [0, 1]\n", lines(*changed))).digest())
    digests.add(load(write(tmp_path, "kind: classification\nlanguage: fr\n", lines(*rows))).digest())
    path = write(tmp_path, "kind: generation\ncolumns: {source: text, target: label}\n", lines(*rows))
    digests.add(load(path).digest())
    task = path.read_text().split("\n", 2)[2]
    digests.add(load(write(tmp_path, task, lines({**rows[0], "label": 5}, rows[1]))).digest())
    assert len(digests) == 5


def test_a_task_of_ones_own_may_not_take_the_name_of_another(tmp_path: Path) -> None:
    path = write(tmp_path, "kind: perplexity\n", lines({"text": "a"}))
    path.write_text(path.read_text().replace("name: t", "name: sst2"))
    with pytest.raises(EvaluationError, match="there is another task sst2"):
        load(path)


def test_the_files_of_results_name_how_each_score_of_a_whole_text_is_made(tmp_path: Path) -> None:
    path = write(tmp_path, "kind: generation\ncolumns: {source: text, target: label}\n", lines(
        {"text": "a", "label": "x"}, {"text": "b", "label": "y"}
    ))
    named = {metric["metric"]: metric["aggregation"] for metric in load(path).config()["metric_list"]}
    assert (named["rouge1"], is_known(named["bleu"]), is_known(named["chrf"])) == ("mean", True, True)
    # Sums of counts, as they stand in the samples file: one sentence like its reference, one unlike.
    columns = [bleu_counts([text], [["a b c d e"]])[0].tolist() for text in ("a b c d e", "v w x y z")]
    found = measure(Metric("bleu", named["bleu"], True), columns, columns)
    assert isinstance(found, Measure)
    want = sacrebleu.corpus_bleu(["a b c d e", "v w x y z"], [["a b c d e"] * 2]).score
    assert float(found.statistic(found.rows[0].sum(axis=0))) == pytest.approx(want)


def test_nobody_draws_examples_while_another_task_is_read(tmp_path: Path, model: EngineModel) -> None:
    path = write(tmp_path, "kind: exact_match\n", lines({"question": "why", "answer": "so"}))
    were_waiting = []

    class Interrupting:
        """The model, which reads a task of its own in the middle of another."""

        def __getattr__(self, name: str) -> object:
            return getattr(model, name)

        def render(self, messages: list[dict[str, str]], **options: bool) -> str:
            other = threading.Thread(target=load, args=(path,), daemon=True)
            other.start()
            other.join(1.0)
            were_waiting.append(other.is_alive())
            return model.render(messages, **options)

    load(path)  # what is imported once
    load(path, Interrupting(), uses_chat_template=True)  # type: ignore[arg-type]
    assert were_waiting and all(were_waiting)
