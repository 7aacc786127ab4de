"""Whatever was written is read back, and whatever is no data file is refused in a sentence."""

import csv
import io
import json

import pyarrow
import pyarrow.parquet
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_app.data.formats import detect
from llm_app.data.mapping import to_examples
from llm_app.data.read import read_file
from llm_app.data.table import Reading
from llm_app.errors import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(TEXT, VALUES, min_size=1, max_size=3), min_size=1, max_size=5)
CELLS = st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=5)
HEADER = Reading(encoding="utf-8", separator=",", has_header=True)


@settings(max_examples=100, deadline=None)
@given(ROWS, st.booleans())
def test_rows_written_as_json_lines_are_read_back(rows, is_ascii):
    data = "".join(json.dumps(row, ensure_ascii=is_ascii) + "\n" for row in rows).encode()
    table = read_file(data, "a.jsonl")
    assert [(row.line, row.cells) for row in table.rows] == list(enumerate(rows, start=1))
    assert not table.problems


@settings(max_examples=100, deadline=None)
@given(ROWS, st.sampled_from([None, 1]))
def test_rows_written_as_a_json_document_are_read_back(rows, indent):
    table = read_file(json.dumps(rows, indent=indent).encode(), "a.json")
    assert ([row.cells for row in table.rows], table.problems) == (rows, ())


@settings(max_examples=100, deadline=None)
@given(CELLS, st.sampled_from(["\n", "\r\n"]))
def test_cells_written_by_the_csv_module_are_read_back_as_text(cells, line_end):
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([["one", "two"], *cells])
    kept = [row for row in cells if any(cell.strip() for cell in row)]
    try:
        table = read_file(file.getvalue().encode(), "a.csv", reading=HEADER)
    except UserError as error:
        assert "no rows below the header" in error.message
        assert not kept
        return
    assert [list(row.cells.values()) for row in table.rows] == kept


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(TEXT, st.integers(-(2**40), 2**40), st.lists(TEXT, max_size=3)), min_size=1, max_size=5))
def test_rows_written_as_parquet_are_read_back(rows):
    columns = dict(zip("abc", map(list, zip(*rows, strict=True)), strict=True))
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    table = read_file(file.getvalue(), "a.parquet")
    assert [tuple(row.cells.values()) for row in table.rows] == rows


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["jsonl", "json", "csv", "tsv", "txt", "parquet", ""]))
@example(b"PAR1PAR1", "parquet")
@example(b"PAR1" + b"\xff" * 20 + b"PAR1", "parquet")
@example(b'"', "csv")
@example(b"\xff\xfe\x00", "txt")
@example(b"\xfe\xff\xd8\x00", "txt")
@example(b"+AA-", "json")
def test_any_bytes_are_rows_or_a_refusal(data, suffix):
    try:
        table = read_file(data, f"a.{suffix}")
    except UserError as error:
        assert "\n" not in error.message.strip()
        return
    rows = len(table.rows)
    examples, bad = to_examples(table, detect(table))
    assert len(examples) + len(bad) >= rows + len(table.problems)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(['{"a": 1, "b": [1, {"c": "d"}]}\n{"a": "é"}', "a,b\n1,2\nx,y", '[{"a": "b"}, {"c": [1, 2]}]']),
       st.integers(0, 60), st.binary(max_size=3))  # fmt: skip
def test_damaged_files_are_rows_or_a_refusal(text, at, damage):
    data = bytearray(text.encode())
    data[at : at + len(damage)] = damage
    for name in ("a.jsonl", "a.json", "a.csv"):
        try:
            table = read_file(bytes(data), name)
        except UserError:
            continue
        assert table.rows or table.problems


# Cells in which separators, quotes, line ends and letters of three scripts stand beside each other.
ANY = st.characters(exclude_categories=["Cs", "Cc"])
DEEP = st.text(st.sampled_from(',;|"\'\n a1é好\u2028') | ANY, min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(DEEP, DEEP), min_size=1, max_size=5), st.sampled_from(",;|"), st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gb18030"]),
)  # fmt: skip
def test_every_cell_stands_on_its_line_in_any_encoding_with_any_separator(rows, separator, line_end, encoding):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, lineterminator=line_end)  # quotes what needs it
    writer.writerow(["text", "label"])
    expected = []
    for row in rows:
        if any(cell.strip() for cell in row):
            expected.append((file.getvalue().count("\n") + 1, {"text": row[0], "label": row[1]}))
        writer.writerow(row)
    # A byte order mark says the encoding; without one it is told, since a few letters are no sample to find it out by.
    told = None if encoding in ("utf-8-sig", "utf-16") else encoding
    try:
        table = read_file(file.getvalue().encode(encoding), "a.csv", reading=Reading(told, separator, True))
    except UserError as error:
        assert "no rows below the header" in error.message and not expected
        return
    assert [(row.line, row.cells) for row in table.rows] == expected and not table.problems
