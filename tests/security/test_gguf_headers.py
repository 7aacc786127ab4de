"""GGUF headers made to hurt a parser: each is refused in one sentence, quickly, without filling memory (A8, A9)."""

import struct
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_app.engine.gguf_file import GgufFile
from llm_app.errors import ModelRejected
from tests import tiny

U32, F32, STRING, ARRAY, U64 = 4, 6, 8, 9, 10
HUGE = 2**63
ARCHITECTURE = b"general.architecture"


def text(value: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if length is None else length) + value


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: bytes = b"t", dims: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf(
    keys: tuple[bytes, ...] = (), tensors: tuple[bytes, ...] = (), *, version: int = 3, magic: bytes = b"GGUF",
    n_keys: int | None = None, n_tensors: int | None = None, data: bytes = bytes(4096), architecture: bool = True,
) -> bytes:
    if architecture:
        keys = (key(ARCHITECTURE, STRING, text(b"llama")), *keys)
    counts = struct.pack(
        "<IQQ", version, len(tensors) if n_tensors is None else n_tensors, len(keys) if n_keys is None else n_keys
    )
    header = magic + counts + b"".join(keys) + b"".join(tensors)
    return header + bytes(-len(header) % 32) + data


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + items


MUTATED = {
    "another magic": gguf(magic=b"GGML"),
    "nothing but zeros": bytes(4096),
    "version 0": gguf(version=0),
    "version 1": gguf(version=1),
    "version 4": gguf(version=4),
    "big-endian": gguf(version=3 << 24),
    "2^63 tensors": gguf(n_tensors=HUGE),
    "2^63 keys": gguf(n_keys=HUGE),
    "2^64-1 tensors": gguf(n_tensors=2**64 - 1),
    "a million tensors": gguf(n_tensors=10**6),
    "more tensors than there are": gguf(n_tensors=60_000),
    "more keys than there are": gguf(n_keys=60_000),
    "no architecture": gguf(architecture=False),
    "an architecture that is a number": gguf((key(ARCHITECTURE, U32, bytes(4)),), architecture=False),
    "a key twice": gguf((key(b"a", U32, bytes(4)), key(b"a", U32, bytes(4)))),
    "a key name of 2^63 bytes": gguf((text(b"a", length=HUGE),)),
    "a key name of 2^64-1 bytes": gguf((text(b"a", length=2**64 - 1),)),
    "a key name of 1 MB": gguf((key(bytes(2**20), U32, bytes(4)),)),
    "a key name that is not UTF-8": gguf((key(b"\xff\xfe", U32, bytes(4)),)),
    "a string of 2^63 bytes": gguf((key(b"a", STRING, text(b"", length=HUGE)),)),
    "a string of 4 GB": gguf((key(b"a", STRING, text(b"", length=2**32)),)),
    "a string past the end": gguf((key(b"a", STRING, text(b"", length=10**6)),)),
    "a string that is not UTF-8": gguf((key(b"a", STRING, text(b"\xc3(")),)),
    "an unknown value type": gguf((key(b"a", 13, bytes(8)),)),
    "value type 2^32-1": gguf((key(b"a", 2**32 - 1, bytes(8)),)),
    "an array of 2^63 numbers": gguf((key(b"a", ARRAY, array(U32, HUGE)),)),
    "an array of 2^63 strings": gguf((key(b"a", ARRAY, array(STRING, HUGE)),)),
    "an array whose size overflows": gguf((key(b"a", ARRAY, array(U64, 2**61)),)),
    "an array past the end": gguf((key(b"a", ARRAY, array(U32, 4000)),)),
    "strings past the end": gguf((key(b"a", ARRAY, array(STRING, 4000)),)),
    "an array of arrays": gguf((key(b"a", ARRAY, array(ARRAY, 1, array(U32, 1, bytes(4)))),)),
    "an array of an unknown type": gguf((key(b"a", ARRAY, array(77, 1, bytes(4))),)),
    "alignment 0": gguf((key(b"general.alignment", U32, bytes(4)),)),
    "alignment 3": gguf((key(b"general.alignment", U32, struct.pack("<I", 3)),)),
    "alignment 2^31": gguf((key(b"general.alignment", U32, struct.pack("<I", 2**31)),)),
    "alignment that is text": gguf((key(b"general.alignment", STRING, text(b"32")),)),
    "no dimensions": gguf((), (tensor(dims=()),)),
    "five dimensions": gguf((), (tensor(dims=(1,) * 5),)),
    "2^32-1 dimensions": gguf((), (text(b"t") + struct.pack("<I", 2**32 - 1),)),
    "a dimension of 0": gguf((), (tensor(dims=(32, 0)),)),
    "a dimension of 2^63": gguf((), (tensor(dims=(HUGE,)),)),
    "dimensions whose product overflows": gguf((), (tensor(dims=(2**33, 2**33)),)),
    "an unknown tensor type": gguf((), (tensor(kind=99),)),
    "a removed tensor type": gguf((), (tensor(kind=4),)),
    "half a block": gguf((), (tensor(dims=(48,), kind=2),)),
    "an offset that is not aligned": gguf((), (tensor(offset=8),)),
    "an offset past the end": gguf((), (tensor(offset=2**20),)),
    "an offset of nearly 2^64": gguf((), (tensor(offset=2**64 - 32),)),
    "two tensors in one place": gguf((), (tensor(b"a"), tensor(b"b"))),
    "overlapping tensors": gguf((), (tensor(b"a", (64,)), tensor(b"b", offset=32))),
    "a tensor twice": gguf((), (tensor(b"a"), tensor(b"a", offset=128))),
    "a tensor larger than the file": gguf((), (tensor(dims=(2**20,)),)),
}


def refuse(data: bytes, path: Path) -> str:
    """The sentence, after checking that it came quickly and cheaply."""
    path.write_bytes(data)
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(ModelRejected) as refusal:
            GgufFile(path)
        seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seconds < 1.0
    assert peak < 50 * 2**20
    assert "\n" not in refusal.value.message and len(refusal.value.message) < 300
    return refusal.value.message


@pytest.mark.parametrize("name", MUTATED)
def test_A8_a_mutated_header_is_refused_quickly_and_cheaply(name: str, tmp_path: Path) -> None:
    assert refuse(MUTATED[name], tmp_path / "bad.gguf").startswith("bad.gguf")


def test_A8_the_header_that_all_mutations_start_from_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "good.gguf"
    path.write_bytes(gguf((key(b"a", F32, bytes(4)),), (tensor(b"a"), tensor(b"b", offset=128))))
    assert list(GgufFile(path).tensors) == ["a", "b"]


def test_A9_L4_a_file_of_49_bytes_with_an_array_of_2_63_entries_is_refused_in_a_second(tmp_path: Path) -> None:
    name = b"a"
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text(name) + struct.pack("<I", ARRAY)
    data = head + array(U32, HUGE)
    assert len(data) == 49
    assert "claims 9223372036854775808 entries" in refuse(data, tmp_path / "bomb.gguf")


def test_A9_a_file_full_of_empty_strings_does_not_unfold_into_gigabytes(tmp_path: Path) -> None:
    n = 2_100_000
    data = gguf((key(b"a", ARRAY, array(STRING, n, bytes(8 * n))),))
    assert "over the limit" in refuse(data, tmp_path / "strings.gguf")


@pytest.fixture(scope="module")
def whole(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    path = tmp_path_factory.mktemp("gguf") / "whole.gguf"
    yield tiny.make_gguf(tiny_llama, path).read_bytes()


def test_A8_a_file_cut_at_every_kilobyte_is_refused(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    for size in range(0, len(whole) - 1024, 1024):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelRejected, match="incomplete"):
            GgufFile(path)


def test_A8_a_flipped_byte_anywhere_in_the_header_raises_nothing_but_a_refusal(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped.gguf"
    for at in range(0, 16_000, 37):
        data = bytearray(whole)
        data[at] ^= 0xFF
        path.write_bytes(data)
        try:
            GgufFile(path)
        except ModelRejected:
            continue
