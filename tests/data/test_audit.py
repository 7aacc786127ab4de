"""What the audit finds, held against the plainest program that finds the same: every text with every row."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_app.data.audit import BenchmarkRow, alike, audit, is_empty, overlaps, sharing, words
from llm_app.data.types import Example, Origin, Turn

SENTENCE = "the quick brown fox jumps over the lazy dog and runs far away into the woods"
CHINESE = "今天的天气非常好我们一起去公园散步吧"


def example(*contents: str, line: int = 1) -> Example:
    turns = [Turn("assistant" if i % 2 else "user", text, i % 2 == 1) for i, text in enumerate(contents)]
    return Example(Origin("test", line), tuple(turns))


def naive(examples: Sequence[Example], rows: Sequence[BenchmarkRow]) -> list[tuple[int, str, int, int, str]]:
    """(example, benchmark, sample, n, shared), comparing every run of words with every other."""

    def runs(texts: Sequence[str], n: int) -> list[list[str]]:
        split = [words(text) for text in texts]
        return [found[i : i + n] for found in split for i in range(len(found) - n + 1)]

    leaks = []
    for number, each in enumerate(examples):
        said = [turn.content for turn in each.turns]
        for benchmark in dict.fromkeys(row.benchmark for row in rows):
            hits = [
                (row.sample, n, " ".join(run))
                for n in (13, 8) for row in rows if row.benchmark == benchmark
                for run in runs(said, n) if run in runs(row.texts, n)
            ]
            if hits:
                leaks.append((number, benchmark, *hits[0]))
    return leaks


# Few words, so that they meet; enough of them for thirteen in a row.
texts = st.lists(st.sampled_from("ab"), max_size=24).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(texts, min_size=1, max_size=3), max_size=5), st.lists(st.tuples(st.sampled_from("xy"), texts)))
def test_overlaps_are_those_of_comparing_everything_with_everything(
    said: list[list[str]], asked: list[tuple[str, str]]
) -> None:
    examples = [example(*contents) for contents in said]
    rows = [BenchmarkRow(name, number, (text,)) for number, (name, text) in enumerate(asked)]
    leaks, checked = overlaps(examples, rows)
    assert sorted((leak.example, leak.benchmark, leak.sample, leak.n, leak.shared) for leak in leaks) == sorted(
        naive(examples, rows)
    )
    assert {name: n for name, (n, _) in checked.items()} == {
        name: sum(row.benchmark == name for row in rows) for name in {row.benchmark for row in rows}
    }


def test_case_width_and_punctuation_hide_no_overlap() -> None:
    copied = example("Say this:", "THE  quick-brown fox;  jumps … over the ｌａｚｙ dog!")
    leaks, _ = overlaps([copied], [BenchmarkRow("b", 7, (SENTENCE,))])
    assert [(leak.sample, leak.n, leak.shared) for leak in leaks] == [(7, 8, "the quick brown fox jumps over the lazy")]


@pytest.mark.parametrize(("n_shared", "n"), [(7, None), (8, 8), (12, 8), (13, 13)])
def test_chinese_is_compared_character_by_character(n_shared: int, n: int | None) -> None:
    leaks, _ = overlaps([example("问", f"他说：{CHINESE[:n_shared]}。")], [BenchmarkRow("b", 0, (CHINESE,))])
    assert [leak.n for leak in leaks] == ([] if n is None else [n])
    assert not leaks or leaks[0].shared == CHINESE[:n]


def test_words_do_not_run_on_from_one_turn_or_field_to_the_next() -> None:
    half, rest = SENTENCE[:19], SENTENCE[20:43]  # 4 and 5 words
    assert overlaps([example(half, rest)], [BenchmarkRow("b", 0, (SENTENCE[:43],))])[0] == []
    assert overlaps([example(SENTENCE[:43])], [BenchmarkRow("b", 0, (half, rest))])[0] == []


def test_rows_that_are_too_short_to_be_found_are_counted() -> None:
    rows = [("b", 0, ("a b c d e f g",)), ("b", 1, (SENTENCE, "short")), ("c", 0, ())]
    assert overlaps([example("x")], [BenchmarkRow(*row) for row in rows])[1] == {"b": (2, 1), "c": (1, 1)}


def test_a_repetition_names_the_first_of_its_kind() -> None:
    one, other = example("a?", "b"), example("a?", "c")
    found = audit([one, other, example("a?", "b", line=9), one])
    assert found.duplicates == ((2, 0), (3, 0))


@pytest.mark.parametrize(
    ("answer", "empty"),
    [("", True), (" \n\t", True), ("...?!", True), ("7", False), ("是", False), ("👍", False), ("=", False)],
)
def test_an_answer_of_space_and_punctuation_is_empty(answer: str, empty: bool) -> None:
    assert is_empty(example("a?", answer)) == empty
    assert is_empty(Example(Origin("test", 1), prompt="Q:", completion=answer)) == empty


def test_a_call_of_a_tool_is_not_empty_and_an_untrained_answer_does_not_count() -> None:
    call = Turn("assistant", "", True, {"tool_calls": [{"function": {"name": "f"}}]})
    assert not is_empty(Example(Origin("test", 1), (Turn("user", "a?"), call)))
    assert is_empty(Example(Origin("test", 1), (Turn("user", "a?"), Turn("assistant", "Words.", False))))


def test_examples_that_were_cut_are_over_long() -> None:
    assert audit([example("a", "b")] * 3, n_cut=[0, 0, 1]).over_long == (2,)


def test_an_example_that_shares_with_several_benchmarks_is_counted_once() -> None:
    rows = [BenchmarkRow(name, 0, (SENTENCE,)) for name in "ab"]
    found = audit([example("?", SENTENCE), example("?", SENTENCE[:43])], rows)
    assert len(found.leaks) == 4
    assert (found.n_leaked(), found.n_leaked(13)) == (2, 1)


def test_an_example_that_holds_two_rows_of_a_benchmark_is_counted_for_both() -> None:
    rows = [(f"row {name} " * 7,) for name in ("one", "two", "three")]
    assert sharing(rows, [(" ".join(rows[0]) + " and then " + " ".join(rows[1]),)]) == [0, 1]
    assert sharing(rows, [("row one " * 6,)]) == [], "12 words"


def test_a_system_message_that_all_have_in_common_makes_no_example_alike() -> None:
    system = Turn("system", "you are a careful assistant that answers every question in one short line of plain text")
    told = [Turn("assistant", SENTENCE, is_trained=True), Turn("assistant", "no", is_trained=True)]
    held = [Example(Origin("test", 1), (system, Turn("user", f"what {n}"), answer)) for n, answer in enumerate(told)]
    trained = [Example(Origin("test", 2), (system, Turn("user", "other"), told[0]))]
    assert alike(held, trained) == [0]
