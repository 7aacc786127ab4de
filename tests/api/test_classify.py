"""POST /v1/classify: the loaded chat model by prompt, and trained classifiers, by name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.folder import ClassifierFile, write_note
from llm_app.classify.types import Item, Prediction
from llm_app.classify.zero_shot import ZeroShot
from tests.live import MODEL, Live, running

LABELS = ["negative", "positive"]
MANY = tuple(f"label {number}" for number in range(200))


@pytest.fixture(scope="module")
def live(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("home"), tiny_llama) as server:
        for name, kind, labels, shares in (
            ("usual", "single", ("no", "yes"), (0.3, 0.7)), ("tags", "multi", ("a", "b"), (0.6, 0.2)),
            ("mean", "regression", ("score",), (2.5,)), ("many", "single", MANY, (1 / len(MANY),) * len(MANY)),
        ):  # fmt: skip
            folder = server.services.settings.classifiers / name
            folder.mkdir(parents=True)
            write_note(folder, ClassifierFile("majority", kind, labels, shares=shares))  # type: ignore[arg-type]
        yield server


def classify(live: Live, **body: Any) -> httpx.Response:
    return live.client.post("/v1/classify", json={"model": MODEL, "labels": LABELS} | body)


def test_the_chat_model_gives_each_input_the_probabilities_of_its_zero_shot_classifier(live: Live) -> None:
    texts = ["hello world", "the quick brown fox jumps"]
    template = "{text}\nIs it {labels}?"
    answer = classify(live, input=texts, template=template).json()
    expected = ZeroShot(live.host, LABELS, ZeroShotConfig(template), adapter=None).predict([Item(t) for t in texts])
    for outcome in expected:
        assert isinstance(outcome, Prediction)
        line = answer["data"][outcome.index]
        assert line["index"] == outcome.index
        assert list(line["probabilities"].values()) == pytest.approx(outcome.scores, abs=1e-5)
        assert line["probability"] == max(line["probabilities"].values()) == line["probabilities"][line["label"]]
    assert (answer["object"], answer["model"], answer["usage"]) == ("list", MODEL, {"n_inputs": 2, "n_cut": 0})


def test_a_trained_classifier_answers_by_its_name(live: Live) -> None:
    body = {"model": "usual", "input": [["a", "b"]]}
    (line,) = live.client.post("/v1/classify", json=body).json()["data"]
    assert (line["label"], line["probabilities"]) == ("yes", {"no": 0.3, "yes": 0.7})
    (stricter,) = live.client.post("/v1/classify", json=body | {"threshold": 0.8}).json()["data"]
    assert stricter["label"] == "no"


def test_several_labels_and_values_have_names_of_their_own(live: Live) -> None:
    (tags,) = live.client.post("/v1/classify", json={"model": "tags", "input": "a"}).json()["data"]
    (mean,) = live.client.post("/v1/classify", json={"model": "mean", "input": "a"}).json()["data"]
    assert tags["labels"] == ["a"] and "label" not in tags
    assert mean["value"] == 2.5 and "probabilities" not in mean


def test_trained_classifiers_are_listed_and_damaged_ones_say_why(live: Live) -> None:
    damaged = live.services.settings.classifiers / "damaged"
    damaged.mkdir()
    (damaged / "classifier.json").write_text("{}")
    found = {line["id"]: line for line in live.client.get("/v1/classifiers").json()["data"]}
    assert found["usual"]["labels"] == ["no", "yes"] and found["usual"]["method"] == "majority"
    assert "cannot be used" in found["damaged"]["error"]


def test_what_is_too_long_is_cut_and_counted_or_refused_where_it_stands(live: Live) -> None:
    texts = ["hello " * 4000, "hello"]
    cut, whole = classify(live, input=texts).json()["data"]
    assert cut["n_cut"] > 0 and whole["n_cut"] == 0
    refused, answered = classify(live, input=texts, strict=True).json()["data"]
    assert "nothing may be cut" in refused["error"] and answered["label"] in LABELS


@pytest.mark.parametrize(("body", "status", "param", "sentence"), [
    ({"input": "a", "labels": []}, 400, "labels", "No labels are given"),
    ({"input": "a", "labels": ["x"]}, 400, "labels", "only one label"),
    ({"input": "a", "labels": ["x", "x"]}, 400, "labels", "given twice"),
    ({"input": "a", "labels": ["x", " "]}, 400, "labels", "is empty"),
    ({"input": "a", "labels": [str(n) for n in range(1001)]}, 400, "labels", "1000"),
    ({"input": []}, 400, "input", "list of pairs"),
    ({"input": [["a"]]}, 400, "input", "list of pairs"),
    ({"input": ["a"] * 1001}, 400, "input", "1000"),
    ({"input": ["a"] * 1000, "labels": [str(n) for n in range(200)]}, 400, "input", "inputs times labels"),
    ({"input": ["a"] * 1000, "model": "many", "labels": None}, 400, "input", "inputs times labels"),
    ({"input": "a", "template": "no place"}, 400, "template", "{text}"),
    ({"input": "a", "normalisation": "mean"}, 400, "normalisation", "sum, length"),
    ({"input": "a", "words": ["x"]}, 400, "words", "1 label words for 2 labels"),
    ({"input": "a", "model": "usual"}, 400, "labels", "its own labels"),
    ({"input": "a", "model": "../usual"}, 404, "model", "not loaded"),
    ({"input": "a", "n_examples": 2}, 400, "n_examples", ""),
    ({"input": "a", "labels": ["x", "y", "z"], "threshold": 0.5}, 400, "threshold", "for one of two labels"),
    ({"input": "a", "model": "mean", "labels": None, "threshold": 0.5}, 400, "threshold", "for one of two labels"),
    ({"input": "a", "threshold": 1.5}, 400, "threshold", "1"),
])  # fmt: skip
def test_wrong_requests_are_refused_in_one_sentence(
    live: Live, body: dict[str, Any], status: int, param: str, sentence: str
) -> None:
    answer = classify(live, **body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param), error
    assert sentence in error["message"]
