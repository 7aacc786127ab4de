"""CoNLL files: what is read, what is refused, and what is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from llm_app.data.conll import Columns, as_bio, entities_of, read_conll
from llm_app.errors import UserError

SMALL = b"The\tO\nNew\tB-LOC\nYork\tI-LOC\n\nHi\tO\n"

TYPES = st.sampled_from(["PER", "creative-work"])
TAGS = st.lists(st.one_of(st.just("O"), st.builds("{}-{}".format, st.sampled_from("BIES"), TYPES)), max_size=12)
TOKENS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=" "), min_size=1, max_size=6)
SENTENCES = st.lists(st.lists(TOKENS.filter(lambda token: token != "-DOCSTART-"), min_size=1, max_size=5), min_size=1)


def refusal(data: bytes, **options) -> str:
    with pytest.raises(UserError) as caught:
        read_conll(data, "file.conll", **options)
    return caught.value.message


def test_blank_lines_end_sentences_and_lines_are_numbered_from_1():
    file = read_conll(SMALL)
    assert [(each.line, each.tokens) for each in file.sentences] == [(1, ("The", "New", "York")), (5, ("Hi",))]
    assert file.sentences[0].tags == ("O", "B-LOC", "I-LOC")


def test_a_line_of_separators_alone_is_blank():  # as in the training file of WNUT-17
    assert len(read_conll(b"a\tO\n\t\nb\tO\n").sentences) == 2


def test_first_and_last_column_are_token_and_tag_unless_others_are_named():
    data = b"EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n"
    assert read_conll(data).sentences[0].tags == ("B-ORG", "O")
    assert read_conll(data, columns=Columns(tag=3)).sentences[0].tags == ("B-NP", "B-VP")


def test_docstart_lines_separate_and_are_no_tokens():
    file = read_conll(b"-DOCSTART- -X- O\n\na X O\n-DOCSTART- -X- O\nb X O\n")
    assert [each.tokens for each in file.sentences] == [("a",), ("b",)]


@given(TAGS)
def test_tags_of_all_schemes_give_the_entities_that_seqeval_reads(tags):  # oracle: seqeval
    wanted = [(start, end + 1, kind) for kind, start, end in get_entities(tags)]
    assert entities_of(as_bio(tags)) == wanted


def test_bilou_and_bmes_are_other_names_of_bioes():
    assert as_bio(["B-X", "M-X", "L-X", "U-X", "O"]) == as_bio(["B-X", "I-X", "E-X", "S-X", "O"])


@given(SENTENCES)
def test_nothing_is_lost_and_nothing_changed(sentences):
    # A token that looks as if it ended in its place in a word is another test's business.
    sentences = [["#", *tokens] for tokens in sentences]
    text = "\n".join("".join(f"{token}\tO\n" for token in tokens) for tokens in sentences)
    assert [list(each.tokens) for each in read_conll(text.encode()).sentences] == sentences


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("York B-LOC", "3 columns instead of 2"),
        ("York\tB-", "has no type"),
        ("York\tLOC", "neither O nor begins with"),
        ("\tB-LOC", "a tag without a token"),
    ],
)
def test_a_line_that_cannot_be_read_takes_its_sentence_and_is_named(line, reason):
    broken = line.replace(" ", "\tX\t") if " " in line else line
    file = read_conll(f"a\tO\n\nb\tO\n{broken}\nc\tO\n\nd\tO\n".encode())
    assert [each.tokens for each in file.sentences] == [("a",), ("d",)]
    assert [bad.origin.line for bad in file.problems] == [4]
    assert reason in file.problems[0].reason


def test_places_in_words_are_left_out_and_told():  # as in Weibo NER; of "10" the 1 is the character
    file = read_conll("科0\tO\n技1\tO\n10\tO\n01\tO\n��0\tO\n".encode())
    assert file.sentences[0].tokens == ("科", "技", "1", "0", "��")
    assert "place in its word" in str(file.notes[0])


def test_digits_stay_where_not_every_token_ends_in_its_place():
    assert read_conll(b"A0\tO\nB7\tO\n").sentences[0].tokens == ("A0", "B7")


def test_entities_that_begin_with_an_inner_tag_are_told_with_their_line():
    file = read_conll(b"a\tB-X\nb\tO\nc\tI-X\n")
    assert file.sentences[0].tags == ("B-X", "O", "B-X")
    assert "1 entities begin with I- or E-, the first on line 3" in str(file.notes[0])


def test_a_file_without_beginnings_is_told():
    assert "No tag marks a beginning" in str(read_conll(b"a\tI-X\nb\tI-X\n").notes[0])


def test_gb18030_is_found_out_and_told():
    text = "".join(f"{sign}\tO\n" for sign in "我们在北京的时候说了很多话")
    file = read_conll(text.encode("gb18030"))
    assert "".join(file.sentences[0].tokens) == "我们在北京的时候说了很多话"
    assert "GB18030" in str(file.notes[0])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\n \n\t\n", "only blank lines"),
        (b"one\ntwo\n", "most lines have one column"),
        (b"PK\x03\x04 and more", "a zip archive"),
        (b"a\tO\nb\0\tO\n", "NUL"),
    ],
)
def test_what_is_no_conll_file_is_refused_in_one_sentence(data, reason):
    assert reason in refusal(data)


def test_a_column_that_is_not_there_is_refused():
    assert "2 columns" in refusal(SMALL, columns=Columns(tag=5))


def test_types_stand_in_the_order_of_their_frequency():
    assert read_conll(b"a\tB-X\nb\tB-Y\nc\tB-Y\n").types == ("Y", "X")


def test_real_corpora_are_read_whole(hub_data):
    folder = hub_data.parent / "raw" / "ner"
    wnut, weibo = folder / "wnut17" / "wnut17train.conll", folder / "weibo_zh" / "weiboNER_2nd_conll.train"
    counts = {}
    for path in (wnut, weibo):
        file = read_conll(path)
        assert file.problems == ()
        n_entities = sum(len(entities_of(sentence.tags)) for sentence in file.sentences)
        counts[path.name] = (len(file.sentences), n_entities, {len(file.types)})
        if path == weibo:
            assert "".join(file.sentences[0].tokens).startswith("科技全方位资讯智能，")
    # As `grep -c` counts sentences and B- tags in the files; ten entities of the second begin with I-.
    assert counts == {wnut.name: (3394, 1975, {6}), weibo.name: (1350, 1885 + 10, {8})}
