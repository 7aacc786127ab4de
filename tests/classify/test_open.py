"""What a name stands for: the shelf, folders, models with a head, chat models with labels."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llm_app.classify.folder import ClassifierFile, write_note
from llm_app.classify.network import NetworkClassifier
from llm_app.classify.open import open_classifier, trained_folder
from llm_app.classify.tfidf import Features, LinearModel, Tfidf
from llm_app.classify.types import Item, Prediction
from llm_app.classify.zero_shot import ZeroShot
from llm_app.config import ModelConfig, Settings, quiet_environment
from llm_app.engine.host import Host
from llm_app.errors import ModelNotFound, UserError
from tests.classify.making import make_encoder


@pytest.fixture
def host(settings: Settings) -> Iterator[Host]:
    host = Host(settings)
    yield host
    host.shutdown(0)


def make_tfidf(folder: Path) -> Path:
    folder.mkdir(parents=True)
    LinearModel(Features(), ("good",), np.ones(1), np.array([[0.0], [3.0]]), np.zeros(2)).write(folder)
    write_note(folder, ClassifierFile("tfidf", "single", ("negative", "positive")))
    return folder


def test_a_classifier_on_the_shelf_is_opened_by_its_name(settings: Settings, host: Host):
    make_tfidf(settings.classifiers / "mine")
    assert isinstance(open_classifier("mine", host, settings), Tfidf)


def test_a_folder_is_opened_by_its_path(settings: Settings, host: Host, tmp_path: Path):
    assert isinstance(open_classifier(str(make_tfidf(tmp_path / "there")), host, settings), Tfidf)


def test_a_model_that_somebody_else_trained_a_head_for_is_a_classifier(settings: Settings, host: Host, tmp_path: Path):
    classifier = open_classifier(str(make_encoder(tmp_path / "theirs")), host, settings)
    assert isinstance(classifier, NetworkClassifier)
    assert classifier.labels == ("negative", "positive")
    (outcome,) = classifier.predict([Item("good")])
    assert isinstance(outcome, Prediction) and sum(outcome.scores) == pytest.approx(1)


def test_our_note_beside_an_encoder_sets_its_temperature(settings: Settings, host: Host, tmp_path: Path):
    folder = make_encoder(tmp_path / "tiny")
    (plain,) = open_classifier(str(folder), host, settings).predict([Item("good film")])
    write_note(folder, ClassifierFile("encoder", "single", ("negative", "positive"), 64, temperature=2.0))
    (soft,) = open_classifier(str(folder), host, settings).predict([Item("good film")])
    assert isinstance(plain, Prediction) and isinstance(soft, Prediction)
    odds = [np.log(one.scores[1] / one.scores[0]) for one in (plain, soft)]
    assert odds[0] == pytest.approx(2 * odds[1])


def test_files_that_differ_make_identities_that_differ(settings: Settings, host: Host, tmp_path: Path):
    one = open_classifier(str(make_encoder(tmp_path / "one")), host, settings).identity()
    same = open_classifier(str(make_encoder(tmp_path / "same")), host, settings).identity()
    other = open_classifier(str(make_encoder(tmp_path / "other", seed=1)), host, settings).identity()
    assert one == same != other


def test_no_library_draws_bars_of_its_own_while_a_classifier_is_opened(monkeypatch: pytest.MonkeyPatch):
    environ: dict[str, str] = {}
    monkeypatch.setattr(os, "environ", environ)
    quiet_environment()
    assert environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1", "transformers asks the hub library"


def test_a_chat_model_is_loaded_and_asked_if_there_are_labels(settings: Settings, host: Host, tiny_llama: Path):
    classifier = open_classifier(str(tiny_llama), host, settings, labels=("bad", "good"))
    assert isinstance(classifier, ZeroShot)
    assert host.loaded.entry.path == tiny_llama
    assert isinstance(open_classifier(str(tiny_llama), host, settings, labels=("x", "y")), ZeroShot)


def test_a_chat_model_never_takes_the_place_of_one_that_is_loaded(
    settings: Settings, host: Host, tiny_llama: Path, tiny_qwen2: Path
):
    for _ in host.load(ModelConfig(str(tiny_llama))):
        pass
    with pytest.raises(UserError, match="tiny-qwen2 is not loaded; tiny-llama is"):
        open_classifier(str(tiny_qwen2), host, settings, labels=("bad", "good"))


def test_labels_that_a_trained_classifier_does_not_have_are_refused(settings: Settings, host: Host):
    make_tfidf(settings.classifiers / "mine")
    open_classifier("mine", host, settings, labels=("positive", "negative"))
    with pytest.raises(UserError, match="its own are: negative, positive"):
        open_classifier("mine", host, settings, labels=("good", "bad"))


def test_a_name_that_stands_for_nothing_is_told(settings: Settings, host: Host):
    with pytest.raises(ModelNotFound, match="No model nothing"):
        open_classifier("nothing", host, settings)


def test_on_a_public_server_only_the_shelf_counts(settings: Settings, tmp_path: Path):
    public = replace(settings, is_public=True)
    make_tfidf(settings.classifiers / "mine")
    assert trained_folder("mine", public) == settings.classifiers / "mine"
    for name in (str(make_tfidf(tmp_path / "there")), "../classifiers/mine", str(settings.classifiers / "mine")):
        with pytest.raises(ModelNotFound):
            trained_folder(name, public)
