"""Rows U of the list of faults: data files that are empty, damaged, in disguise, or not what they seem."""

import json
import os
from pathlib import Path

import pytest

from llm_app.data.read import read_file
from llm_app.data.table import MEGABYTE, Limits, Reading
from llm_app.errors import UserError
from tests.data.files import cells, listed, parquet, refusal

CHINESE = 'question,answer\n你好，世界是什么样的？,我们的世界很大。\n"他说""好""",这是一个回答\n'
JAPANESE = "質問,回答\nこれは何ですか,日本語の文章です\n元気ですか,はい、元気です\n"
FRENCH = "question,réponse\nOù est le café ?,À côté de l’hôtel\nC’est très cher ?,Ça coûte 5 €\n"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.txt", "a.parquet", "a"])
def test_U1_an_empty_file_is_said_to_be_empty(name):
    assert refusal(b"", name) == f"{name}: the file is empty."


def test_U1_a_header_alone_has_no_rows():
    assert refusal(b"question,answer\n", "a.csv") == "a.csv: no rows below the header."
    assert refusal(b"[]", "a.json") == "a.json: there are no rows."


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_U1_blank_lines_are_no_rows(name):
    assert refusal(b"\n \r\n\n", name) == f"{name}: there are only blank lines."


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_U2_marked_files_are_read_without_the_mark(codec):
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(codec, b"")
    table = read_file(mark + CHINESE.encode(codec), "a.csv")
    assert table.columns == ("question", "answer")
    assert cells(table) == cells(read_file(CHINESE.encode(), "a.csv"))
    assert bool(table.notes) == (codec != "utf-8-sig")


@pytest.mark.parametrize(
    ("codec", "name", "text"),
    [
        ("gb18030", "GB18030", CHINESE), ("gbk", "GB18030", CHINESE), ("cp932", "Shift-JIS", JAPANESE),
        ("euc_jp", "EUC-JP", JAPANESE), ("cp1252", "cp1252", FRENCH),
        ("big5", "Big5", "問題,回答\n這個國家的人說什麼話,他們說我們的話\n"),
        ("cp949", "EUC-KR", "질문,대답\n이것은 무엇입니까,이것은 한국어 문장입니다\n"),
    ],
)  # fmt: skip
def test_U3_older_encodings_are_found_and_told(codec, name, text):
    table = read_file(text.encode(codec), "a.csv")
    assert cells(table) == cells(read_file(text.encode(), "a.csv"))
    assert f"Read as {name}, not UTF-8" in str(table.notes[0])


def test_U3_the_encoding_can_be_chosen():
    table = read_file("a,b\né,1x\n".encode("cp437"), "a.csv", reading=Reading(encoding="cp437"))
    assert cells(table) == [{"a": "é", "b": "1x"}]
    assert "no encoding is called 'klingon'" in refusal(b"a\nb\n", "a.csv", reading=Reading(encoding="klingon"))
    assert "no encoding is called 'hex'" in refusal(b"a\nb\n", "a.csv", reading=Reading(encoding="hex"))


def test_U3_what_no_encoding_fits_is_refused_with_line_and_byte():
    data = b"question,answer\nwhat,\x81\x8d\xff\xfe\x80\n"
    assert refusal(data, "a.csv").startswith("a.csv, line 2: byte 21 (0x81) is not UTF-8")


def test_U3_one_broken_character_does_not_turn_utf8_into_something_else():
    data = ("é,ü\n" * 20).encode() + "naïve,".encode("cp1252") + "é\n".encode()
    assert "line 21: byte 122 (0xef) is damaged: all around it is UTF-8" in refusal(data, "a.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.txt"])
def test_U4_nul_bytes_are_refused_with_the_line(name):
    assert refusal(b'{"a": "b"}\n{"a": "\0"}\n', name).startswith(f"{name}, line 2: byte 18 is NUL")


def test_U4_nul_in_json_and_parquet_is_listed_by_row():
    table = read_file(b'{"a": "b"}\n{"a": "x\\u0000y"}\n', "a.jsonl")
    assert listed(table) == [(2, "holds a NUL character")]
    assert listed(read_file(parquet({"a": ["b", "x\0y"]}), "a.parquet")) == [(2, "holds a NUL character")]


def test_U6_a_ragged_row_is_listed_with_its_line():
    table = read_file(b'a,b\n1x,"two\nlines"\nonly\n3,4,5\n6,7\n', "a.csv", reading=Reading(has_header=True))
    assert listed(table) == [(4, "1 cells, but there are 2 columns"), (5, "3 cells, but there are 2 columns")]
    assert [row.line for row in table.rows] == [2, 6]


def test_U6_a_quote_that_is_not_closed_is_refused_with_the_line_it_opens_on():
    told = refusal(b'a,b\nx,y\nx,"open\nz,z\n', "a.csv")
    assert told.startswith("a.csv, line 3: a quote is opened and never closed")


def test_U6_mixed_line_ends_are_all_line_ends():
    table = read_file(b"a,b\r\nu,v\rw,x\ny,z\r\n", "a.csv")
    assert [tuple(row.cells.values()) for row in table.rows] == [("u", "v"), ("w", "x"), ("y", "z")]
    assert [row.line for row in table.rows] == [2, 3, 4]


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolon"), ("\t", "tab"), ("|", "bar")])
def test_U6_another_separator_is_found_and_told(separator, name):
    table = read_file(f'a{separator}b\n"x, y"{separator}z\nu{separator}v, w\n'.encode(), "a.csv")
    assert [tuple(row.cells.values()) for row in table.rows] == [("x, y", "z"), ("u", "v, w")]
    assert [str(note) for note in table.notes] == [f"Cells are separated by {name}."]


def test_U6_quotes_of_a_tab_separated_file_that_quotes_nothing_stay():
    table = read_file(b'a\tb\n"so it begins\tx\nand ends"\ty\n', "a.tsv")
    assert [list(row.cells.values()) for row in table.rows] == [['"so it begins', "x"], ['and ends"', "y"]]
    assert str(table.notes[-1]) == "Quotes are read as plain characters."


def test_U7_duplicate_and_empty_names_of_columns_get_names_and_it_is_told():
    table = read_file(b"text,text,,label\na,b,c,d\n", "a.csv")
    assert table.columns == ("text", "text 2", "column 3", "label")
    assert "text 2, column 3" in str(table.notes[-1])


def test_U7_a_header_that_comes_again_is_no_row():
    table = read_file(b"text,label\na,x\ntext,label\nb,y\ntext,label\n", "a.csv")
    assert [row.line for row in table.rows] == [2, 4]
    assert listed(table) == [(3, "the header comes again"), (5, "the header comes again")]


def test_U7_ten_thousand_columns_are_refused():
    header = ",".join(f"c{number}x" for number in range(10_000))
    told = refusal(f"{header}\n{header}\n".encode(), "a.csv")
    assert told == "a.csv, line 1: 10,000 columns; at most 1,000 are read."


def test_U8_words_that_look_like_nothing_or_like_numbers_stay_text():
    table = read_file(b"text,label\nNA,null\nNone,007\nnan,1e5\n", "a.csv")
    assert [tuple(row.cells.values()) for row in table.rows] == [("NA", "null"), ("None", "007"), ("nan", "1e5")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": "cut of', "cut off: it ends before its JSON does"),
        ("{'a': 1}", "not JSON (Expecting property name enclosed in double quotes, column 2)"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": [-Infinity]}', "-Infinity is no JSON number"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' comes twice"),
        ('{"a": "\\ud83d"}', "holds half a character (a lone surrogate)"),
        ('{"a": ' + "[" * 5_000 + "]" * 5_000 + "}", "nested too deeply"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "nested deeper than 64 levels"),
        ('{"a": ' + "1" * 5_000 + "}", "a number is too long"),
        ('{"a": 1} {"a": 2}', "more after the end of the JSON, at column 9"),
        ('["a"]', 'each row must be an object, such as {"prompt": "...", "completion": "..."}'),
    ],
)
def test_U11_a_bad_line_is_listed_and_the_others_are_read(line, reason):
    table = read_file(f'{{"a": 1}}\n{line}\n{{"a": 3}}\n'.encode(), "a.jsonl")
    assert listed(table) == [(2, reason)]
    assert [row.line for row in table.rows] == [1, 3]


def test_U11_a_cut_last_line_is_listed():
    assert listed(read_file(b'{"a": 1}\n{"a": "b', "a.jsonl")) == [(2, "cut off: it ends before its JSON does")]


def test_U11_a_bad_element_of_a_list_is_listed_and_the_others_are_read():
    table = read_file(b'[\n {"a": 1},\n {"a": NaN},\n {"a": 3}\n]', "a.json")
    assert (listed(table), [row.line for row in table.rows]) == ([(3, "NaN is no JSON number")], [2, 4])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[\n{"a": 1},\n{"a": 2', "a.json, line 3: cut off: it ends before its JSON does."),
        ('[\n{"a": 1}\n{"a": 2}]', "a.json, line 3: not JSON (Expecting ',' delimiter, column 1)."),
        ('[\n{"a": ' + "[" * 5_000 + "]" * 5_000 + "}]", "a.json, line 2: nested too deeply."),
        ('[{"a": 1}]\n[]', "a.json, line 2: more follows after the end of the JSON document;"),
    ],
)
def test_U11_a_document_that_breaks_is_refused_with_the_line(text, message):
    assert refusal(text.encode(), "a.json").startswith(message)


def test_U11_the_list_may_stand_in_an_object():
    table = read_file(b'{"version": 1,\n "tags": ["x"],\n "data": [\n{"a": 1},\n{"a": 2}]}', "a.json")
    assert [(row.line, row.cells) for row in table.rows] == [(4, {"a": 1}), (5, {"a": 2})]


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (b'{"a": 1}\n{"a": 2}\n', "a.csv", "jsonl"), (b'{"a": 1}\n{"a": 2}\n', "a.json", "jsonl"),
        (b'[{"a": 1}]', "a.jsonl", "json"), (b'[{"a": 1}]', "a.txt", "json"), (b"a\tb\nc\td\n", "a.txt", "csv"),
        (parquet({"a": [1]}), "a.csv", "parquet"),
    ],
)  # fmt: skip
def test_U15_content_decides_over_the_extension_and_it_is_told(data, name, kind):
    table = read_file(data, name)
    assert table.kind == kind
    assert "whatever the name's" in str(table.notes[0])


def test_U16_a_file_over_the_limit_is_refused_with_the_limit(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n" * MEGABYTE)
    with pytest.raises(UserError, match=r"a\.csv has 4\.0 MB; the limit is 2 MB\."):
        read_file(path, limits=Limits(file_bytes=2 * MEGABYTE))


def test_U19_a_file_that_vanished_is_said_to_be_gone(tmp_path: Path):
    with pytest.raises(UserError, match="is no longer there, or never was. Upload it again"):
        read_file(tmp_path / "a.csv")


def test_U19_a_folder_and_a_pipe_are_refused_at_once(tmp_path: Path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(UserError, match="no ordinary file"):
        read_file(tmp_path / "a.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_file(tmp_path)


def test_U21_of_a_million_rows_the_first_are_read_alone():
    data = b"text,label\n" + b"some text of a row,yes\n" * 1_000_000
    table = read_file(data, "a.csv", limits=Limits(n_first=100))
    assert (len(table.rows), table.is_whole) == (100, False)


def test_U21_more_rows_than_the_limit_are_refused_with_the_limit():
    data = "".join(json.dumps({"a": number}) + "\n" for number in range(101)).encode()
    assert refusal(data, "a.jsonl", limits=Limits(n_rows=100)) == (
        "a.jsonl: more than 100 rows, which is the most that is read."
    )
