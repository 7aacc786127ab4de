"""Data files made for a test, and what was said of them."""

import io
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from llm_app.data.read import read_file
from llm_app.data.table import Table
from llm_app.errors import UserError


def refusal(data: bytes, name: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_file(data, name, **options)
    return caught.value.message


def cells(table: Table) -> list[dict[str, Any]]:
    return [dict(row.cells) for row in table.rows]


def listed(table: Table) -> list[tuple[int, str]]:
    return [(row.origin.line, row.reason) for row in table.problems]


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file, **options)
    return file.getvalue()
