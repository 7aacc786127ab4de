"""What the Classify tab shows of named entities: pure functions, and what is wrong with an entity."""

import html
import re

import pytest
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2

from llm_app.classify.entities.sentences import conll_text, looks_tagged, sentence_of, sentences_of
from llm_app.classify.entities.types import Tagging
from llm_app.classify.entities.wrong import WrongSpan, wrong_spans
from llm_app.data.conll import TaggedSentence, read_conll
from llm_app.data.table import Limits
from llm_app.errors import UserError
from llm_app.web.classify import entities_scores, entities_views
from llm_app.web.classify.entities_handlers import EXAMPLE
from llm_app.web.classify.entities_reading import Brought, read_path, read_text
from llm_app.web.classify.entities_views import Shown

TAGGED = "Anna\tB-PER\nsaw\tO\nNew\tB-LOC\nYork\tI-LOC\n\n北\tB-LOC\n京\tI-LOC\n很\tO\n大\tO\n"


def tagged(brought: Brought, *tags: str, types: tuple[str, ...] = ("LOC", "PER")) -> Shown:
    """What a tagger may have said: a string of tags a sentence."""
    said = {place: tuple(words.split()) for place, words in enumerate(tags)}
    taggings = {place: Tagging(place, words, (0.75,) * len(words)) for place, words in said.items()}
    return Shown(brought, taggings, types, "tagger", 0.02)


def marks(shown: str) -> list[tuple[str, str]]:
    """(words, name of the type) of every mark in the sentences."""
    return re.findall(r"<mark[^>]*><bdi>([^<]*)</bdi><b>([^<]*)</b></mark>", shown)


def test_entities_are_told_by_a_name_a_colour_and_a_line_in_any_script() -> None:
    shown = entities_views.found(tagged(read_text(TAGGED), "B-PER O B-LOC I-LOC", "B-LOC I-LOC O O"))
    assert marks(shown) == [("Anna", "PER"), ("New York", "LOC"), ("北京", "LOC")]
    assert 'class="entity run-1 line-0"' in shown and 'class="entity run-0 line-0"' in shown
    assert 'dir="auto"' in shown and "0.750" in shown
    many = tuple(f"T{n}" for n in range(14))
    looks = {entities_views.mark_class(kind, many) for kind in many}
    assert len(looks) == len(many)


def test_texts_and_types_are_never_markup() -> None:
    evil = "<img/src=x>{y}"
    brought = read_text(f"{evil}\tB-<b>\nO\tO\n")
    shown = tagged(brought, "B-<b> O", types=("<b>",))
    page = entities_views.found(shown) + entities_views.brought(brought) + entities_scores.scores(shown)
    assert "<img" not in page and "<b><b>" not in page and "{" not in page
    assert html.escape("<b>") in page


@pytest.mark.parametrize(("truth", "found", "faults"), [
    ("B-PER I-PER O", "B-PER I-PER O", []),
    ("B-PER O O", "O O B-LOC", ["missed", "spurious"]),
    ("B-PER I-PER O", "B-LOC I-LOC O", ["type"]),
    ("B-PER I-PER O", "B-PER O O", ["ends"]),
    ("B-PER B-PER O", "B-PER I-PER O", ["ends", "missed"]),
    ("B-PER I-PER O", "O B-LOC I-LOC", ["missed", "spurious"]),
])  # fmt: skip
def test_every_wrong_entity_has_one_fault(truth: str, found: str, faults: list[str]) -> None:
    wrong = wrong_spans(truth.split(), found.split())
    assert [one.fault for one in wrong] == faults


def test_a_wrong_type_stands_between_what_is_true_and_what_was_said() -> None:
    assert wrong_spans(["B-PER"], ["B-LOC"]) == [WrongSpan("type", (0, 1, "PER"), (0, 1, "LOC"))]


def test_span_scores_are_those_of_seqeval_and_each_wrong_entity_opens_its_sentence() -> None:  # oracle: seqeval
    brought = read_text(TAGGED)
    said = ("B-PER O B-PER I-PER", "B-LOC I-LOC O O")
    truth = [list(sentence.truth or ()) for sentence in brought.sentences]
    wanted = f1_score(truth, [words.split() for words in said], mode="strict", scheme=IOB2)
    shown = entities_scores.scores(tagged(brought, *said))
    assert f"<b>{wanted:.3f}</b>" in shown
    assert shown.count("<details") == 1 and "wrong type" in shown and "类型错" in shown
    assert marks(shown) == [("Anna", "PER"), ("New York", "LOC"), ("Anna", "PER"), ("New York", "PER")]


def test_scores_of_a_stopped_run_are_of_the_sentences_that_it_came_to() -> None:
    shown = tagged(read_text(TAGGED), "B-PER O B-LOC I-LOC")
    assert "stopped: 1 of 2 sentences" in entities_views.found(shown)
    scores = entities_scores.scores(shown)
    assert "over 1 sentences" in scores and "reads the longest first" in scores and "先读最长的句子" in scores


def test_plain_text_has_no_scores() -> None:
    assert entities_scores.scores(tagged(read_text("Anna saw\nNew York"), "B-PER O", "B-LOC I-LOC")) == ""


def test_a_conll_file_that_is_saved_reads_as_what_was_found() -> None:
    shown = tagged(read_text(TAGGED), "O O B-LOC I-LOC", "B-LOC O O O")
    text = conll_text(shown.brought.sentences, shown.taggings)
    assert text.splitlines()[2] == "New\tB-LOC\tB-LOC"
    assert [sentence.tags for sentence in read_conll(text.encode()).sentences] == [
        ("O", "O", "B-LOC", "I-LOC"), ("B-LOC", "O", "O", "O"),
    ]  # fmt: skip


def test_words_stand_apart_but_where_the_script_has_no_spaces() -> None:
    tokens = ("我", "们", "喝", "Green", "Tea", "。")
    sentence = sentence_of(TaggedSentence(3, tokens, ("O",) * 6))
    assert sentence.text == "我们喝Green Tea 。" and sentence.tokens == tokens and sentence.line == 3


def test_plain_text_is_a_sentence_a_line_with_the_number_of_the_line() -> None:
    assert [(one.line, one.tokens) for one in sentences_of("Hi, you\n\n\u3000\n北京")] == [
        (1, ("Hi", ",", "you")), (4, ("北", "京")),
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "is_tagged"), [
    ("a\tO\nb\tB-X\n", True), ("a X Y O\n", True), ("Anna saw\nNew York", False), ("O\nO\n", False), ("", False),
    ("a b\nc O\nd O\n", True),
])  # fmt: skip
def test_conll_is_told_from_plain_text_by_the_ends_of_its_lines(text: str, is_tagged: bool) -> None:
    assert looks_tagged(text) == is_tagged


def test_a_faulty_line_is_named_with_its_number_and_takes_its_sentence_with_it() -> None:
    brought = read_text("a\tO\nb\tB-X\n\nc\tO\nd\tWRONG\ne\tO\n\nf\tO\n")
    shown = entities_views.brought(brought)
    assert len(brought.sentences) == 2
    assert "Line 5" in shown and "第 5 行" in shown and "WRONG" in shown


def test_a_table_gives_the_texts_of_one_column_and_says_which(tmp_path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n1,Anna lives here in Paris\n2,\n3,nobody was ever there\n", encoding="utf-8")
    brought = read_path(path, Limits())
    assert [one.line for one in brought.sentences] == [2, 4]
    about = entities_views.brought(brought)
    assert "text" in about and "1 rows have no text" in about and "1 行在该列没有文本" in about


def test_a_file_that_is_no_data_is_refused_in_a_sentence(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"PK\x03\x04rest")
    with pytest.raises(UserError, match="zip archive"):
        read_path(path, Limits())


def test_the_example_has_people_places_and_organisations_in_two_scripts() -> None:
    brought = read_path(EXAMPLE, Limits())
    assert brought.is_tagged and not brought.problems
    assert sorted(brought.types) == ["LOC", "ORG", "PER"] and len(brought.sentences) == 90
    assert any("青岛" in sentence.text for sentence in brought.sentences)
