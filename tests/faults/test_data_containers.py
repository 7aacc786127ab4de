"""Rows U12 and U13 of the list of faults: Parquet files that are damaged or swell, and archives in disguise."""

import gzip
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pyarrow
import pytest

from llm_app.data.read import read_file
from llm_app.data.table import MEGABYTE
from tests.data.files import cells, parquet, refusal

ROOT = Path(__file__).parents[2]


def test_U12_a_cut_parquet_file_is_refused():
    assert "cut off or damaged" in refusal(parquet({"a": ["x"] * 1000})[:-50], "a.parquet")
    assert "its beginning is lost" in refusal(parquet({"a": ["x"]})[4:], "a.parquet")
    damaged = bytearray(parquet({"a": [f"{n}" for n in range(10_000)]}, compression="zstd"))
    damaged[200:400] = bytes(200)
    assert "cut off or damaged" in refusal(bytes(damaged), "a.parquet")


def test_U11_a_column_of_mixed_types_is_told():
    table = read_file(b'{"a": 1}\n{"a": 2.5}\n{"a": "1"}\n{"a": null}\n', "a.jsonl")
    assert [str(note) for note in table.notes] == ["Column a holds numbers in 2 rows, text in 1 rows."]


# Reads a file and says by how many bytes its peak memory rose: in a process of its own, whose peak starts low.
PEAK = """
import resource, sys
import pyarrow.parquet
from llm_app.data.read import read_file
from llm_app.errors import UserError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_file(sys.argv[1])
except UserError as error:
    print(error.message)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("is_nested", [False, True])
def test_U12_a_text_kept_once_and_meant_ten_thousand_times_is_refused_within_memory(tmp_path: Path, is_nested):
    text = "x" * (MEGABYTE // 4)
    if is_nested:
        data = parquet({"a": [[{"content": text}] * 4] * 250}, compression="zstd")
    else:
        texts = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 40_000, pyarrow.int32()), [text])
        data = parquet({"a": texts}, compression="zstd", store_schema=False)
    assert len(data) < MEGABYTE
    (tmp_path / "a.parquet").write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, tmp_path / "a.parquet"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    told, peak = done.stdout.splitlines()
    assert "bytes when unpacked" in told
    assert int(peak) < 200 * MEGABYTE


def test_U12_nested_values_are_read_and_bytes_left_out():
    turns = [[{"role": "user", "content": "x"}], None]
    table = read_file(parquet({"turns": turns, "image": [b"1", b"2"]}), "a.parquet")
    assert cells(table) == [{"turns": turns[0]}, {"turns": None}]
    assert str(table.notes[-1]) == "Columns of bytes are left out: image."


def test_U12_ten_thousand_row_groups_are_read():
    table = read_file(parquet({"a": list(range(10_000))}, row_group_size=1), "a.parquet")
    assert [row.cells["a"] for row in table.rows] == list(range(10_000))


def archives() -> dict[str, bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("../a.csv", "a,b\n1,2\n")
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"))
    return {"zip": zipped.getvalue(), "tar": tarred.getvalue(), "gzip": gzip.compress(b"a,b\n1,2\n")}


@pytest.mark.parametrize("kind", ["zip", "tar", "gzip"])
@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.txt"])
def test_U13_archives_are_refused_whatever_they_are_called(kind, name):
    assert f"{kind}" in refusal(archives()[kind], name)
