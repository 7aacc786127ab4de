"""classifier.json and the weights beside it are believed only where they agree."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from llm_app.classify.encoder import open_encoder
from llm_app.classify.folder import BaseModel, ClassifierFile, read_note, write_note
from llm_app.classify.lstm import LstmModel, open_lstm
from llm_app.classify.tfidf import Features, LinearModel, open_tfidf
from llm_app.engine.plain_folder import PlainFolder
from llm_app.engine.weights import CLASSIFIES
from llm_app.errors import ModelNotFound, ModelRejected
from tests.classify.making import make_encoder

CPU = torch.device("cpu")
FILES = [
    ClassifierFile("encoder", "single", ("a", "b"), 128, temperature=1.3, trained={"rows": 7}),
    ClassifierFile("lora", "multi", ("a",), 64, base=BaseModel("embedded", "ab" * 32)),
    ClassifierFile("lstm", "regression", ("stars",), 32, is_pair=True),
    ClassifierFile("majority", "single", ("a", "b"), shares=(0.25, 0.75)),
]  # fmt: skip


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.method)
def test_what_is_written_is_read_back(tmp_path: Path, file: ClassifierFile):
    write_note(tmp_path, file)
    assert read_note(tmp_path) == file


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "its format is '2'"),
        ({"method": "oracle"}, "method is 'oracle'"),
        ({"kind": "poem"}, "kind is 'poem'"),
        ({"labels": ["a", "a"]}, "'a' is given twice"),
        ({"labels": ["a"]}, "only one label"),
        ({"labels": ["a", 3]}, "labels is"),
        ({"labels": ["a", " b"]}, "space around"),
        ({"labels": None}, "labels is None"),
        ({"max_length": 0}, "max_length is 0"),
        ({"max_length": True}, "max_length is True"),
        ({"temperature": 0}, "temperature is 0"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"base": {"name": "x"}}, "base is"),
        ({"base": {"name": "x", "weights": "y"}}, "names its base model"),
        ({"shares": [0.5, 0.5]}, "has shares"),
        ({"colour": "red"}, "'colour', which this program does not know"),
    ],
)  # fmt: skip
def test_a_note_that_is_wrong_is_refused_in_one_sentence(tmp_path: Path, change: dict[str, Any], sentence: str):
    write_note(tmp_path, ClassifierFile("encoder", "single", ("a", "b")))
    values = json.loads((tmp_path / "classifier.json").read_text())
    (tmp_path / "classifier.json").write_text(json.dumps(values | change))
    with pytest.raises(ModelRejected, match="The classifier cannot be used") as error:
        read_note(tmp_path)
    assert sentence in error.value.message


def test_a_note_with_the_threshold_that_earlier_versions_wrote_is_read(tmp_path: Path):
    write_note(tmp_path, FILES[0])
    values = json.loads((tmp_path / "classifier.json").read_text())
    assert "threshold" not in values
    (tmp_path / "classifier.json").write_text(json.dumps(values | {"threshold": 0.5}))
    assert read_note(tmp_path) == FILES[0]


def test_a_note_without_labels_is_refused(tmp_path: Path):
    (tmp_path / "classifier.json").write_text('{"format": 1, "method": "tfidf", "kind": "single"}')
    with pytest.raises(ModelRejected, match="does not say which labels"):
        read_note(tmp_path)


def test_a_folder_without_a_note_is_no_classifier(tmp_path: Path):
    with pytest.raises(ModelNotFound, match="classifier.json is missing"):
        read_note(tmp_path)


def test_an_encoder_whose_note_has_other_labels_than_its_weights_is_refused(tmp_path: Path):
    folder = PlainFolder(make_encoder(tmp_path / "tiny", ("a", "b")), CLASSIFIES)
    for labels in (("a", "b", "c"), ("b", "a")):
        with pytest.raises(ModelRejected, match="labels are not the same|of 3 labels"):
            open_encoder(folder, ClassifierFile("encoder", "single", labels), CPU, name="tiny")


def test_weights_of_another_shape_than_the_labels_and_the_vocabulary_are_refused(tmp_path: Path):
    save_file(LstmModel(2, 2).state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "vocabulary.json").write_text('{"words": ["good", "bad"]}')
    assert open_lstm(tmp_path, ClassifierFile("lstm", "single", ("a", "b")), CPU).vocabulary == ("good", "bad")
    with pytest.raises(ModelRejected, match="head.weight has shape"):
        open_lstm(tmp_path, ClassifierFile("lstm", "single", ("a", "b", "c")), CPU)
    (tmp_path / "vocabulary.json").write_text('{"words": ["good"]}')
    with pytest.raises(ModelRejected, match="embedding.weight has shape"):
        open_lstm(tmp_path, ClassifierFile("lstm", "single", ("a", "b")), CPU)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"terms": ["a", "a", "b"]}, "repeats a term"), ({"terms": []}, "no list of terms"),
        ({"terms": ["a", "b"]}, "idf has shape"), ({"analyzer": "code"}, "how its terms are found"),
        ({"longest": 0}, "how its terms are found"), ({"more": 1}, "how its terms are found"),
    ],
)  # fmt: skip
def test_a_vocabulary_that_is_wrong_is_refused(tmp_path: Path, change: dict[str, Any], sentence: str):
    ones = np.ones(3)
    LinearModel(Features(), ("a", "b", "c"), ones, np.ones((2, 3)), np.ones(2)).write(tmp_path)
    file = tmp_path / "vocabulary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelRejected, match=sentence):
        open_tfidf(tmp_path, ClassifierFile("tfidf", "single", ("x", "y")))


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path):
    LinearModel(Features(), ("a",), np.array([np.nan]), np.ones((2, 1)), np.ones(2)).write(tmp_path)
    with pytest.raises(ModelRejected, match="not finite"):
        open_tfidf(tmp_path, ClassifierFile("tfidf", "single", ("x", "y")))
