"""Scores of taggers of named entities, which are seqeval's, and what they come to on corpora."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from seqeval.metrics import classification_report

import llm_app.data
from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.entities.decode import bio_labels
from llm_app.classify.entities.features import FeatureTagger
from llm_app.classify.entities.scores import score
from llm_app.classify.entities.train import scores_of
from llm_app.classify.entities.types import Tagger, Tagging
from llm_app.data.conll import TaggedSentence, as_bio, read_conll
from llm_app.data.mix import DatasetSpec
from llm_app.jobs.tagger import TaggerData, start_tagger
from llm_app.jobs.tagger_result import read_scores
from llm_app.jobs.train import Training
from llm_app.jobs.train_in_place import InPlace

LABELS = bio_labels(["LOC", "PER"])
EXAMPLE = Path(llm_app.data.__file__).parent / "examples" / "entities.txt"
CORPORA = {
    "wnut17": ("wnut17/wnut17train.conll", "wnut17/emerging.dev.conll"),
    "weibo": ("weibo_zh/weiboNER_2nd_conll.train", "weibo_zh/weiboNER_2nd_conll.dev"),
}


def test_scores_equal_seqeval_for_each_type_and_all():  # oracle: seqeval
    random = np.random.default_rng(0)
    truth, guess = (
        [as_bio(random.choice(LABELS, size=8, p=[0.4, 0.15, 0.15, 0.15, 0.15]).tolist()) for _ in range(40)]
        for _ in range(2)
    )
    wanted = classification_report([list(t) for t in truth], [list(g) for g in guess], output_dict=True)
    found = score(truth, [Tagging(i, tags, (1.0,) * 8) for i, tags in reversed(list(enumerate(guess)))])
    for name, row in {"micro avg": found.all, **found.by_type}.items():
        figures = (row.precision.estimate, row.recall.estimate, row.f1.estimate, row.support)
        assert figures == pytest.approx(tuple(wanted[name].values()))
    assert found.all.f1.low < found.all.f1.estimate < found.all.f1.high


def test_scores_without_any_entity_are_zero():
    found = score([("O",)] * 6, [Tagging(i, ("O",), (1.0,)) for i in range(6)])
    assert found.all.f1.estimate == 0 and found.by_type == {}


def checked_f1(tagger: Tagger, sentences: Sequence[TaggedSentence]) -> float:
    """Span F1 over all types, which is seqeval's on what the tagger says."""
    found = scores_of(tagger, sentences)
    taggings = sorted(tagger.tag([sentence.tokens for sentence in sentences]), key=lambda tagging: tagging.index)
    wanted = classification_report(
        [list(sentence.tags) for sentence in sentences], [list(tagging.tags) for tagging in taggings],
        output_dict=True, zero_division=0,
    )  # fmt: skip
    assert {kind: row.f1.estimate for kind, row in found.by_type.items()} == pytest.approx(
        {kind: row["f1-score"] for kind, row in wanted.items() if not kind.endswith(" avg")}
    )
    assert found.all.f1.estimate == pytest.approx(wanted["micro avg"]["f1-score"])
    assert found.all.f1.low < found.all.f1.estimate < found.all.f1.high
    return found.all.f1.estimate


def test_the_baseline_finds_most_entities_in_sentences_like_those_it_learned_from():  # oracle: seqeval
    sentences = read_conll(EXAMPLE).sentences  # in two scripts; 0.76
    assert checked_f1(FeatureTagger.fit(sentences[::2], bio_labels(("LOC", "ORG", "PER"))), sentences[1::2]) > 0.65


@pytest.mark.verify
@pytest.mark.parametrize(("corpus", "least"), [("wnut17", 0.18), ("weibo", 0.44)])  # it comes to 0.21 and 0.49
def test_the_baseline_finds_entities_of_the_real_corpora(corpus, least, hub_data):  # oracle: seqeval
    train, dev = (read_conll(hub_data.parent / "raw" / "ner" / name) for name in CORPORA[corpus])
    assert checked_f1(FeatureTagger.fit(train.sentences, bio_labels(sorted(train.types))), dev.sentences) > least


@pytest.mark.verify
@pytest.mark.timeout(1800)
def test_a_trained_encoder_finds_far_more_of_wnut17_than_the_baseline(hub_data, settings):
    train, dev = (DatasetSpec(str(hub_data.parent / "raw" / "ner" / name)) for name in CORPORA["wnut17"])
    folder = start_tagger(TaggerData(train, test=dev), EntityConfig(), settings).folder
    for _ in Training(folder, settings, start=InPlace).run():
        pass
    found = read_scores(folder)
    assert found["encoder"].all.f1.estimate > 0.42 > 0.25 > found["features"].all.f1.estimate > 0.18  # 0.49 and 0.21
