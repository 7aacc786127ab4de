"""BLEU, chrF, ROUGE, exact match, diversity and perplexity against the programs that define them."""

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_eval.api import metrics as harness
from lm_eval.tasks.qasper.metrics import f1_abstractive, normalize_answer
from rouge_score.rouge_scorer import RougeScorer

from eval.metrics.bleu.score import bleu, bleu_counts, bleu_of_counts, tokenizers
from eval.metrics.chrf.score import chrf
from eval.metrics.diversity.score import diversity
from eval.metrics.exact_match.score import exact_match, exact_match_scores
from eval.metrics.perplexity.score import count_words, perplexity
from eval.metrics.rouge.score import rouge, rouge_scores
from eval.statistics import paired_bootstrap

unhurried = settings(deadline=None)
ENGLISH = (
    ["The cat sat on the mat, didn't it?", "It's a rainy day in the U.S. today.", "He saw 3,000 birds fly south."],
    ["The cat was sitting on the mat.", "It is raining in the U.S. today.", "He watched 3,000 birds flying south."],
    ["A cat sat on a mat, did it not?", "A rainy day in America.", "Three thousand birds, he saw, flew south."],
)
CHINESE = (
    ["我们昨天去了北京,天气很好。", "他喜欢读书和跑步。"],
    ["昨天我们去了北京，天气非常好。", "他喜欢看书和跑步。"],
    ["昨日我们到了北京，天气很好。", "他爱读书，也爱跑步。"],
)


def sacrebleu_prints(folder, *, texts, options: list[str]) -> dict:
    paths = [folder / f"{number}.txt" for number in range(len(texts))]
    for path, lines in zip(paths, texts, strict=True):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", *map(str, paths[1:]), "-i", str(paths[0]), "-w", "10", *options]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


@pytest.mark.parametrize(("texts", "tokenize"), [(ENGLISH, "13a"), (ENGLISH[:2], "intl"), (CHINESE, "zh")])
def test_bleu_equals_the_command_line_of_sacrebleu(tmp_path, texts, tokenize):
    printed = sacrebleu_prints(tmp_path, texts=texts, options=["-m", "bleu", "-tok", tokenize])
    found = bleu(texts[0], list(zip(*texts[1:], strict=True)), tokenize=tokenize)
    assert round(found["score"], 10) == printed["score"]
    assert found["signature"] == printed["signature"]


@pytest.mark.parametrize(("texts", "word_order"), [(ENGLISH, 0), (ENGLISH[:2], 2), (CHINESE, 0)])
def test_chrf_equals_the_command_line_of_sacrebleu(tmp_path, texts, word_order):
    printed = sacrebleu_prints(tmp_path, texts=texts, options=["-m", "chrf", "--chrf-word-order", str(word_order)])
    found = chrf(texts[0], list(zip(*texts[1:], strict=True)), word_order=word_order)
    assert round(found["score"], 10) == printed["score"]
    assert found["signature"] == printed["signature"]


def test_a_sample_may_have_fewer_references_than_another():
    predictions, references = ENGLISH[0], [[ENGLISH[1][0], ENGLISH[2][0]], [ENGLISH[1][1]], ENGLISH[1][2]]
    assert "nrefs:var" in bleu(predictions, references)["signature"]
    assert chrf(predictions, references)["score"] > 0


def test_japanese_is_offered_only_where_its_tokeniser_is_installed():
    try:
        import MeCab  # noqa: F401
    except ImportError:
        assert "ja-mecab" not in tokenizers()
        with pytest.raises(ValueError, match="No tokeniser 'ja-mecab'"):
            bleu(["猫"], ["猫"], tokenize="ja-mecab")
    else:
        assert bleu(["吾輩は猫である。"], ["吾輩は猫である。"], tokenize="ja-mecab")["score"] == pytest.approx(100)


def test_bleu_of_summed_counts_is_corpus_bleu_so_that_its_difference_can_be_tested():
    texts, given, others = (2 * column for column in ENGLISH)  # three sentences are too few for an interval
    first, second = bleu_counts(texts, given), bleu_counts(others, given)
    found = paired_bootstrap(first, second, statistic=bleu_of_counts, n_resamples=50)
    assert bleu_of_counts(first.sum(axis=0)) == pytest.approx(bleu(texts, given)["score"])
    assert found.estimate == pytest.approx(bleu(others, given)["score"] - bleu(texts, given)["score"])
    assert found.low <= found.estimate <= found.high


@unhurried
@given(st.lists(st.tuples(*[st.text("abé Ü,.'7\nZ-", max_size=40)] * 3), min_size=1, max_size=3), st.booleans())
def test_rouge_of_latin_script_is_rouge_score(triples, use_stemmer):
    kinds = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    scorer = RougeScorer(kinds, use_stemmer=use_stemmer)
    found = rouge_scores([a for a, _, _ in triples], [[b, c] for _, b, c in triples], use_stemmer=use_stemmer)
    for scores, (text, one, other) in zip(found, triples, strict=True):
        assert scores == {kind: score.fmeasure for kind, score in scorer.score_multi([one, other], text).items()}


def test_rouge_counts_chinese_characters_as_words():
    found = rouge(["我们去北京 in May"], ["我去北京 in June"])
    # Words of the answer: 5 characters and 2 words, of the reference 4 and 2; 我 去 北 京 in are common to both.
    assert found["rouge1"] == pytest.approx(2 * 5 / (7 + 6))
    assert found["rouge2"] == pytest.approx(2 * 3 / (6 + 5))
    assert RougeScorer(["rouge1"]).score("我去北京", "我去北京")["rouge1"].fmeasure == 0
    assert rouge(["我去北京"], ["我去北京"])["rougeL"] == 1


words = st.lists(st.sampled_from(["the", "an", "A", "cat.", "don't", "é", "–", "“x”", "\n"]), min_size=1).map(" ".join)


@unhurried
@given(words, st.lists(words, min_size=1, max_size=3))
def test_answers_in_latin_script_are_scored_as_for_squad(prediction, golds):
    """Oracle: the SQuAD normalisation and F1 that lm_eval carries for its Qasper task."""
    found = exact_match([prediction], [golds])
    answer = normalize_answer(prediction)
    assert found["exact_match"] == float(any(answer == normalize_answer(gold) for gold in golds))
    if answer:  # the oracle gives 0 for two empty answers, SQuAD 2.0 gives 1
        assert found["f1"] == pytest.approx(max(f1_abstractive([prediction], [gold]) for gold in golds))


def test_answers_are_compared_without_case_articles_and_punctuation():
    predictions = ["The Eiffel  Tower!", "在“北京”。", "Paris, France"]
    found = exact_match_scores(predictions, ["eiffel tower", "在北京", ["Rome", "France"]])
    assert [score["exact_match"] for score in found] == [1, 1, 0]
    assert found[2]["f1"] == pytest.approx(2 / 3)
    assert exact_match(["北京市"], ["北京"])["f1"] == pytest.approx(4 / 5)


def test_diversity_of_a_text_counted_by_hand():
    found = diversity(["a b a b a b", "c"])
    assert found["distinct_1"] == pytest.approx(3 / 7)
    assert found["distinct_2"] == pytest.approx(2 / 5)
    assert found["repeated_1"] == pytest.approx((4 / 6 + 0) / 2)
    assert found["repeated_2"] == pytest.approx(3 / 5)
    assert diversity(["好好好"])["distinct_1"] == pytest.approx(1 / 3)
    assert math.isnan(diversity(["one"])["repeated_4"])


def test_perplexities_are_the_harness_s():
    texts = ["The cat sat.", " A longer text, with naïve words\nand two lines ", "我们"]
    loglikelihoods, n_tokens = [-11.5, -40.25, -9.0], [4, 14, 3]
    found = perplexity(loglikelihoods, n_tokens, texts)
    words = list(zip(loglikelihoods, [len(re.split(r"\s+", text)) for text in texts], strict=True))
    encoded = list(zip(loglikelihoods, [len(text.encode()) for text in texts], strict=True))
    assert found["word_perplexity"] == pytest.approx(harness.weighted_perplexity(words), rel=1e-12)
    assert found["byte_perplexity"] == pytest.approx(harness.weighted_perplexity(encoded), rel=1e-12)
    assert found["bits_per_byte"] == pytest.approx(harness.bits_per_byte(encoded), rel=1e-12)
    assert found["token_perplexity"] == pytest.approx(math.exp(60.75 / 21))
    assert (count_words(texts[1]), found["n_words"]) == (11, 15)


def test_E10_perplexity_weighs_tokens_counts_what_it_leaves_out_and_shows_infinity():
    found = perplexity([-1.0, 0.0, -90.0], [1, 0, 9], ["a", "", "a b c"])
    assert found["token_perplexity"] == pytest.approx(math.exp(9.1))
    assert (found["n_texts"], found["n_excluded"], found["n_tokens"]) == (2, 1, 10)
    assert perplexity([-1e6], [1], ["a"])["token_perplexity"] == math.inf
    assert perplexity([-math.inf], [1], ["a"])["bits_per_byte"] == math.inf
    with pytest.raises(ValueError, match="No token was scored"):
        perplexity([0.0], [0], [""])


@pytest.mark.parametrize("metric", [bleu, chrf, rouge, exact_match])
def test_a_metric_refuses_no_text_unequal_numbers_and_missing_references(metric):
    for predictions, references in (([], []), (["a"], ["a", "b"]), (["a", "b"], [["a"], []])):
        with pytest.raises(ValueError, match=r"prediction|reference|zip"):
            metric(predictions, references)


def test_equal_texts_score_highest_and_empty_answers_score():
    assert bleu(ENGLISH[0], ENGLISH[0])["score"] == pytest.approx(100)
    assert chrf(ENGLISH[0], ENGLISH[0])["score"] == pytest.approx(100)
    assert np.isfinite([bleu([""], ["a"])["score"], chrf([""], ["a"])["score"], rouge([""], ["a"])["rouge1"]]).all()
