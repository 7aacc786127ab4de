"""Reads a GGUF file without trusting it: every count, length and offset is checked before it is used.

Layout (little-endian): magic, version, tensor count, key count; keys; tensor table; padding; tensor data.
Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import os
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from llm_app.errors import ModelRejected

# Far above any published model, far below what would cost noticeable time or memory to walk through.
MAX_KEYS = 65_536
MAX_TENSORS = 65_536
MAX_STRINGS = 2_000_000
MAX_STRING_BYTES = 16 * 2**20
MAX_NAME_BYTES = 65_535
MAX_HEADER_STRING_BYTES = 64 * 2**20
MAX_ALIGNMENT = 65_536
MAX_DIMENSION = 2**40

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies. `shape` is in torch's order; a row is `row_bytes` long."""

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    start: int  # from the beginning of the file
    n_bytes: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row (the last dimension); blocks never cross rows."""
        return self.n_bytes // prod(self.shape[:-1])


class GgufFile:
    """A checked GGUF file: `metadata` (numeric arrays as NumPy arrays), `tensors`, and the mapped data."""

    def __init__(self, path: Path) -> None:
        """Check the whole header.

        Raises: ModelRejected in one sentence; tensor data is not read.
        """
        self.path = path
        self.n_bytes = os.path.getsize(path)
        if self.n_bytes < 24:
            raise ModelRejected(f"{path.name}: GGUF file is incomplete (has {self.n_bytes} of at least 24 bytes).")
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        header = _Header(self._map, path.name)
        self.metadata, self.tensors = header.metadata, header.tensors
        self.kinds = header.kinds  # the number of each value's type, for who writes it again

    @property
    def architecture(self) -> str:
        """`general.architecture`, as written."""
        return str(self.metadata["general.architecture"])

    def rows(self, info: TensorInfo) -> np.ndarray:
        """The raw blocks, `(n_rows, row_bytes)` uint8, read-only and still on disk."""
        data = np.frombuffer(self._map, np.uint8, info.n_bytes, info.start)
        return data.reshape(prod(info.shape[:-1]), info.row_bytes)

    def values(self, info: TensorInfo) -> np.ndarray:
        """The tensor as float32 in its shape."""
        with np.errstate(invalid="ignore", over="ignore"):  # who loads a model checks that all values are finite
            return dequantize(self.rows(info), info.type).reshape(info.shape)


class _Header:
    """One pass over the header of `data`, which may be anything."""

    def __init__(self, data: mmap.mmap, name: str) -> None:
        self._data, self._name, self._at = data, name, 0
        self._n_strings = self._n_string_bytes = 0
        version, n_tensors, n_keys = self._start()
        self.version = version
        self.kinds: dict[str, int] = {}
        self.metadata = self._metadata(n_keys)
        self._alignment = self._checked_alignment()
        self.tensors = self._tensors(n_tensors)

    def _refuse(self, problem: str) -> ModelRejected:
        return ModelRejected(f"{self._name} is not a valid GGUF file: {problem}.")

    def _incomplete(self, needed: int) -> ModelRejected:
        have = len(self._data)
        return ModelRejected(
            f"{self._name}: GGUF file is incomplete (has {have} of at least {needed} bytes). Download it again."
        )

    def _take(self, n_bytes: int) -> int:
        """Move past `n_bytes`; returns where they begin."""
        start = self._at
        if n_bytes > len(self._data) - start:
            raise self._incomplete(start + n_bytes)
        self._at = start + n_bytes
        return start

    def _scalar(self, code: str) -> Any:
        return struct.unpack_from("<" + code, self._data, self._take(struct.calcsize("<" + code)))[0]

    def _string(self, limit: int = MAX_STRING_BYTES) -> str:
        length = self._scalar("Q")
        self._n_strings += 1
        self._n_string_bytes += length
        if length > limit or self._n_string_bytes > MAX_HEADER_STRING_BYTES or self._n_strings > MAX_STRINGS:
            raise self._refuse(f"a string of {length} bytes at byte {self._at - 8} is over the limit")
        start = self._take(length)
        try:
            return self._data[start : start + length].decode("utf-8")
        except UnicodeDecodeError:
            raise self._refuse(f"the text at byte {start} is not UTF-8") from None

    def _strings(self, count: int) -> list[str]:
        """As many times `_string`, which tells what is wrong with one; vocabularies have a hundred thousand of them."""
        data, end, at, strings = self._data, len(self._data), self._at, []
        n_left = min(count, MAX_STRINGS - self._n_strings)
        most = min(end, at + 8 * n_left + MAX_HEADER_STRING_BYTES - self._n_string_bytes)
        for _ in range(n_left):
            stop = at + 8 + (_LENGTH.unpack_from(data, at)[0] if at + 8 <= most else end)
            if stop > most or stop - at - 8 > MAX_STRING_BYTES:
                break
            try:
                strings.append(data[at + 8 : stop].decode("utf-8"))
            except UnicodeDecodeError:
                break
            at = stop
        self._n_strings += len(strings)
        self._n_string_bytes += at - self._at - 8 * len(strings)
        self._at = at
        return strings + [self._string() for _ in range(count - len(strings))]

    def _start(self) -> tuple[int, int, int]:
        if self._data[:4] != b"GGUF":
            raise self._refuse("it does not begin with GGUF")
        self._at = 4
        version = self._scalar("I")
        if version not in (2, 3):
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in (2, 3)
            raise self._refuse("it is big-endian" if swapped else f"version {version} is unknown; 2 and 3 are read")
        n_tensors, n_keys = self._scalar("Q"), self._scalar("Q")
        if n_tensors > MAX_TENSORS or n_keys > MAX_KEYS:
            raise self._refuse(f"it claims {n_tensors} tensors and {n_keys} keys")
        return version, n_tensors, n_keys

    def _metadata(self, n_keys: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {}
        for _ in range(n_keys):
            key = self._string(MAX_NAME_BYTES)
            if key in metadata:
                raise self._refuse(f"key {key[:80]!r} appears twice")
            self.kinds[key] = self._scalar("I")
            metadata[key] = self._value(self.kinds[key])
        if not isinstance(metadata.get("general.architecture"), str):
            raise self._refuse("general.architecture is missing")
        return metadata

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise self._refuse(f"value type {kind} at byte {self._at - 4} is unknown")
        return self._scalar(_SCALARS[kind])

    def _array(self) -> list[str] | np.ndarray:
        kind, count = self._scalar("I"), self._scalar("Q")
        if kind != _STRING and kind not in _SCALARS:
            raise self._refuse(f"an array of type {kind} at byte {self._at - 12} is unknown")
        if count > len(self._data):
            raise self._refuse(f"an array at byte {self._at - 12} claims {count} entries in {len(self._data)} bytes")
        if kind == _STRING:
            if count > MAX_STRINGS:
                raise self._refuse(f"an array of {count} strings is over the limit")
            return self._strings(count)
        item = np.dtype("<" + _SCALARS[kind])
        start = self._take(count * item.itemsize)
        # A view of the file, not a list: an array as large as the file costs no memory.
        return np.frombuffer(self._data, item, count, start)

    def _checked_alignment(self) -> int:
        alignment = self.metadata.get("general.alignment", 32)
        is_usable = isinstance(alignment, int) and 8 <= alignment <= MAX_ALIGNMENT and alignment & (alignment - 1) == 0
        if not is_usable:
            raise self._refuse(f"general.alignment {alignment!r} is not a power of two from 8 to {MAX_ALIGNMENT}")
        return alignment

    def _tensors(self, n_tensors: int) -> dict[str, TensorInfo]:
        entries = [self._tensor() for _ in range(n_tensors)]
        data_start = -(-self._at // self._alignment) * self._alignment
        tensors: dict[str, TensorInfo] = {}
        end = data_start
        for name, kind, shape, offset in sorted(entries, key=lambda entry: entry[3]):
            per_block, block_bytes = GGML_QUANT_SIZES[kind]
            start, n_bytes = data_start + offset, prod(shape) // per_block * block_bytes
            if name in tensors:
                raise self._refuse(f"tensor {name[:80]!r} appears twice")
            if start < end:
                raise self._refuse(f"tensor {name[:80]!r} overlaps another one")
            end = start + n_bytes
            tensors[name] = TensorInfo(name, kind, shape, start, n_bytes)
        if end > len(self._data):
            raise ModelRejected(
                f"{self._name}: GGUF file is incomplete (has {len(self._data)} of {end} bytes). Download it again."
            )
        return tensors

    def _tensor(self) -> tuple[str, GGMLQuantizationType, tuple[int, ...], int]:
        name = self._string(MAX_NAME_BYTES)
        n_dims = self._scalar("I")
        if not 1 <= n_dims <= 4:
            raise self._refuse(f"tensor {name[:80]!r} has {n_dims} dimensions")
        dims = [self._scalar("Q") for _ in range(n_dims)]
        if not all(0 < size <= MAX_DIMENSION for size in dims):
            raise self._refuse(f"tensor {name[:80]!r} has the shape {dims}")
        number, offset = self._scalar("I"), self._scalar("Q")
        try:
            kind = GGMLQuantizationType(number)
        except ValueError:
            raise self._refuse(f"tensor {name[:80]!r} has the unknown type {number}") from None
        if dims[0] % GGML_QUANT_SIZES[kind][0]:
            raise self._refuse(f"rows of tensor {name[:80]!r} are not whole blocks")
        if offset % self._alignment:
            raise self._refuse(f"tensor {name[:80]!r} is not aligned")
        return name, kind, tuple(reversed(dims)), offset
