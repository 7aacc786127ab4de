"""Rows of a Parquet file, within a budget: a file of a megabyte can hold one text ten thousand times.

Text columns are kept as Arrow's dictionaries until the length of what they stand for is known.
"""

import math
from collections.abc import Iterator
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from llm_app.data.json_rows import Read
from llm_app.data.table import MEGABYTE, FileRefused, Limits, Row
from llm_app.data.types import Note, RowRefused

MAX_ROW_GROUPS = 20_000
MAX_GROWTH = 20  # text may be so many times the file
FREE_BYTES = 64 * MEGABYTE
BATCH_ROWS = 512


class ParquetRows:
    """A Parquet file that was opened and fits the limits; `notes` grow while it is read."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        """Raises: FileRefused for a damaged or encrypted file, or one beyond the limits."""
        try:
            source = pyarrow.BufferReader(data)
            names = _text_columns(pyarrow.parquet.ParquetFile(source).schema)
            self._file = pyarrow.parquet.ParquetFile(source, read_dictionary=names)
            schema = self._file.schema_arrow
        except (pyarrow.ArrowException, OSError) as error:
            raise FileRefused(_why(error)) from None
        about = self._file.metadata
        if len(schema.names) > limits.n_columns:
            raise FileRefused(f"{len(schema.names):,} columns; at most {limits.n_columns:,} are read")
        twice = [name for name in schema.names if schema.names.count(name) > 1]
        if twice:
            raise FileRefused(f"two columns are called {twice[0]!r}")
        if about.num_row_groups > MAX_ROW_GROUPS:
            raise FileRefused(f"{about.num_row_groups:,} row groups; at most {MAX_ROW_GROUPS:,} are read")
        self._budget = FREE_BYTES + MAX_GROWTH * len(data)
        n_bytes = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
        if n_bytes > self._budget:
            limit = f"at most {self._budget:,} are read of a file of this size"
            raise FileRefused(f"{n_bytes:,} bytes when unpacked; {limit}")
        self.n_rows = about.num_rows
        self.notes: list[Note] = []
        self.columns = tuple(field.name for field in schema if not _is_left_out(field.type))
        left_out = [field.name for field in schema if _is_left_out(field.type)]
        if left_out:
            names_out = ", ".join(left_out[:10])
            self.notes.append(Note(f"Columns of bytes are left out: {names_out}.", f"已略去二进制列：{names_out}。"))

    def __iter__(self) -> Iterator[Read]:
        """Raises: FileRefused where the file is damaged, or unpacks to more than it may."""
        line, n_bytes = 0, 0
        try:
            for batch in self._file.iter_batches(batch_size=BATCH_ROWS, columns=list(self.columns)):
                n_bytes += sum(_size(column) for column in batch.columns)
                if n_bytes > self._budget:
                    until = line + batch.num_rows
                    raise FileRefused(f"more than {self._budget:,} bytes when unpacked, up to row {until:,}")
                columns = [column.to_pylist() for column in batch.columns]
                for values in zip(*columns, strict=True) if columns else ():
                    line += 1
                    try:
                        yield Row(line, dict(zip(batch.schema.names, map(_plain, values), strict=True)))
                    except RowRefused as error:
                        yield line, error
        except UnicodeDecodeError:
            raise FileRefused(f"a text in rows {line + 1:,} to {line + BATCH_ROWS:,} is not UTF-8") from None
        except (pyarrow.ArrowException, OSError, OverflowError) as error:
            raise FileRefused(_why(error)) from None


def _why(error: Exception) -> str:
    text = str(error)
    if "encrypt" in text.lower():
        return "this Parquet file is encrypted; give one that is not"
    return f"this Parquet file is cut off or damaged ({text.splitlines()[0][:120] if text else type(error).__name__})"


def _text_columns(schema: pyarrow.parquet.ParquetSchema) -> list[str]:
    columns = [schema.column(number) for number in range(len(schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _is_left_out(kind: pyarrow.DataType) -> bool:
    while pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    types = pyarrow.types
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def _size(values: pyarrow.Array) -> int:
    """Bytes of the values once they are written out."""
    kind = values.type
    types = pyarrow.types
    if types.is_dictionary(kind):
        lengths = pyarrow.compute.binary_length(values.dictionary)
        return int(pyarrow.compute.sum(lengths.take(values.indices)).as_py() or 0)
    if types.is_struct(kind):
        return sum(_size(part) for part in values.flatten())
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _size(values.flatten())
    if types.is_map(kind):
        return _size(values.keys) + _size(values.items)
    return int(values.nbytes)


def _plain(value: Any) -> Any:
    """The value as JSON has it: dates and decimals as text, a missing number as None, pairs of a map as an object."""
    if isinstance(value, str):
        if "\0" in value:
            raise RowRefused("holds a NUL character", "含有 NUL 字符")
        return value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(part, tuple) and len(part) == 2 for part in value):
            return {str(name): _plain(part) for name, part in value}
        return [_plain(part) for part in value]
    if isinstance(value, bytes):
        return None
    return str(value)
