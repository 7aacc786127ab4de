"""The rows K of the list of faults that a classifier itself answers for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.labels import check_labels
from llm_app.classify.open import open_classifier
from llm_app.classify.types import Classifier, Item, Prediction, Unclassified
from llm_app.classify.zero_shot import ZeroShot
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import ModelRejected, UserError
from tests.classify.making import make_encoder

LABELS = ("negative", "positive")
NO_HEAD = "this model has no trained classification head"


@pytest.fixture(scope="module")
def host(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(tiny_llama))):
        pass
    yield host
    host.unload()


@pytest.fixture(scope="module", params=["zero-shot", "encoder"])
def classifier(request: pytest.FixtureRequest, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    if request.param == "zero-shot":
        return ZeroShot(host, LABELS, ZeroShotConfig())
    return open_classifier(str(make_encoder(tmp_path_factory.mktemp("encoder") / "tiny")), host, host.settings)


def test_K1_a_causal_model_without_a_head_says_so(host: Host, tiny_llama: Path):
    with pytest.raises(ModelRejected, match=NO_HEAD):
        open_classifier(str(tiny_llama), host, host.settings)


def test_K1_an_encoder_without_a_head_says_so(host: Host, tmp_path: Path):
    with pytest.raises(ModelRejected, match=NO_HEAD):
        open_classifier(str(make_encoder(tmp_path / "plain", has_head=False)), host, host.settings)


def test_K1_a_head_that_is_claimed_but_not_in_the_files_is_never_made_up(host: Host, tmp_path: Path):
    folder = make_encoder(tmp_path / "claims")
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor for name, tensor in weights.items() if "classifier" not in name},
              folder / "model.safetensors", metadata={"format": "pt"})  # fmt: skip
    with pytest.raises(ModelRejected, match=NO_HEAD):
        open_classifier(str(folder), host, host.settings)


def test_K1_a_configuration_that_hides_the_head_does_not_bring_a_random_one(host: Host, tmp_path: Path):
    folder = make_encoder(tmp_path / "three", ("a", "b"))
    config = json.loads((folder / "config.json").read_text())
    config["id2label"], config["label2id"] = {"0": "a", "1": "b", "2": "c"}, {"a": 0, "b": 1, "c": 2}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelRejected, match="do not fit its config.json"):
        open_classifier(str(folder), host, host.settings)


def test_K2_odd_texts_get_a_result_each_in_any_company(classifier: Classifier):
    odd = ["", " \n\t", "x" * 1_000_000, "line\n" * 10_000, "\x00\ufffd\u200b", "👩‍👩‍👧", "fine"]
    found = sorted(classifier.predict([Item(text) for text in odd]), key=lambda outcome: outcome.index)
    assert [outcome.index for outcome in found] == list(range(len(odd)))
    assert all(isinstance(outcome, Prediction) for outcome in found)
    assert [outcome.n_cut > 0 for outcome in (found[0], found[3]) if isinstance(outcome, Prediction)] == [False, True]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ((), "No labels are given"),
        (("only",), "only one label"),
        (("a", "b", "a"), "'a' is given twice"),
        (("a", "a "), "'a' is given twice"),
        (("a", ""), "Label 2 is empty"),
        (tuple(f"label {number}" for number in range(1_001)), "1,001 labels; 1,000 are the limit"),
    ],
)  # fmt: skip
def test_K3_labels_that_make_no_sense_are_refused_with_the_reason(labels: tuple[str, ...], sentence: str):
    with pytest.raises(UserError) as error:
        check_labels(labels)
    assert (error.value.status, error.value.param) == (400, "labels")
    assert sentence in error.value.message


def test_K3_as_many_labels_as_are_allowed_are_asked(host: Host):
    labels = tuple(f"{number}" for number in range(1_000))
    (found,) = ZeroShot(host, labels, ZeroShotConfig(template="{text} ->")).predict([Item("which")])
    assert isinstance(found, Prediction)
    assert len(found.scores) == 1_000 and sum(found.scores) == pytest.approx(1)


def test_K6_a_text_over_the_context_is_cut_and_says_how_much(classifier: Classifier):
    long, short = classifier.predict([Item("good film " * 2_000)]), classifier.predict([Item("good film")])
    assert [outcome.n_cut > 0 for outcome in long if isinstance(outcome, Prediction)] == [True]
    assert [outcome.n_cut for outcome in short if isinstance(outcome, Prediction)] == [0]


def test_K6_strict_refuses_the_row_and_goes_on(host: Host, tmp_path: Path):
    strict = [
        ZeroShot(host, LABELS, ZeroShotConfig(), is_strict=True),
        open_classifier(str(make_encoder(tmp_path / "tiny")), host, host.settings, is_strict=True),
    ]
    for classifier in strict:
        found = sorted(
            classifier.predict([Item("good film " * 2_000), Item("good")]), key=lambda outcome: outcome.index
        )
        assert isinstance(found[0], Unclassified) and "nothing may be cut (strict)" in found[0].reason
        assert isinstance(found[1], Prediction)
