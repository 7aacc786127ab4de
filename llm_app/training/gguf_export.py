"""A model as one GGUF file, for this program, llama.cpp and its kin.

What a GGUF file says beside its weights (tokenizer, chat template, who made it) has no equal in a Hugging Face folder.
So it is carried over from the GGUF file that the model came from, and only such models are written.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGML_QUANT_VERSION, GGUFValueType, GGUFWriter, LlamaFileType
from gguf import GGMLQuantizationType as Kind
from gguf.quants import quantize

from llm_app.config import Settings
from llm_app.engine import catalog, gguf_model, gguf_rope
from llm_app.engine.adapter_file import BASE_NOTE
from llm_app.engine.catalog import ModelEntry
from llm_app.engine.gguf_arrangement import arrangement
from llm_app.engine.gguf_file import GgufFile, TensorInfo
from llm_app.engine.identity import digest_files
from llm_app.engine.sources import GgufSource, open_source
from llm_app.engine.weights import read_json
from llm_app.errors import ModelNotFound, UserError
from llm_app.training.merged import MergedWeights
from llm_app.training.new_path import check_allowed, check_free, new_path

KINDS = {"f32": Kind.F32, "f16": Kind.F16, "bf16": Kind.BF16, "q8_0": Kind.Q8_0}
_FILE_TYPES = {
    Kind.F32: LlamaFileType.ALL_F32, Kind.F16: LlamaFileType.MOSTLY_F16,
    Kind.BF16: LlamaFileType.MOSTLY_BF16, Kind.Q8_0: LlamaFileType.MOSTLY_Q8_0,
}
_FILE_TYPE, _QUANTIZATION_VERSION = "general.file_type", "general.quantization_version"
# The writer sets these itself; the last two tell how the original was quantized, and in how many files it lay.
_NOT_CARRIED = ("general.architecture", "general.alignment", _FILE_TYPE, "quantize.", "split.")
_NUMBERS = {
    "?": GGUFValueType.BOOL, "B": GGUFValueType.UINT8, "b": GGUFValueType.INT8, "H": GGUFValueType.UINT16,
    "h": GGUFValueType.INT16, "I": GGUFValueType.UINT32, "i": GGUFValueType.INT32, "L": GGUFValueType.UINT64,
    "l": GGUFValueType.INT64, "f": GGUFValueType.FLOAT32, "d": GGUFValueType.FLOAT64,
}
_SPARE_BYTES = 20_000_000  # header and tokenizer


def export_gguf(
    entry: ModelEntry, adapter: Path | None, output: Path, *, kind: str, settings: Settings, room: int | None = None
) -> Iterator[float]:
    """Write the model, with the adapter's change in its weights, to the file `output`; yields the fraction done.

    Closing the iterator, or any failure, leaves nothing behind. `room`: bytes that it may take at most, if there is a
    limit. Matrices are stored as `kind`, all else in float32.
    Raises: ModelNotFound, ModelRejected, or UserError if the model does not come from a GGUF file.
    """
    check_free(output)
    if output.suffix != ".gguf":
        raise UserError(f"{output.name} does not end in .gguf.", param="output")
    weights = MergedWeights(entry, adapter, settings)
    original = _original(entry, weights, settings)
    tensors = _tensors(weights, original, KINDS[kind])
    n_bytes = sum(tensor.n_bytes for tensor in tensors)
    check_allowed(output, n_bytes, room)
    with new_path(output, n_bytes=n_bytes + _SPARE_BYTES) as partial:
        writer = GGUFWriter(partial, original.architecture)
        try:
            _add_metadata(writer, original, KINDS[kind])
            for tensor in tensors:
                writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.n_bytes, tensor.kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            n_done = 0
            for tensor in tensors:
                writer.write_tensor_data(tensor.read())
                n_done += tensor.n_bytes
                yield n_done / n_bytes
        finally:
            writer.close()


class _Tensor:
    """One tensor of the new file, made when it is asked for."""

    def __init__(self, name: str, weights: MergedWeights, original: GgufFile, ours: str, wanted: Kind) -> None:
        self.name, self._ours = name, ours
        self._weights, self._original = weights, original
        self._arrangement = arrangement(original.architecture, name, weights.outline.config)
        self.shape = self._arrangement.written_shape(weights.shape(ours))
        self.kind = _kind_for(self.shape, wanted)

    @property
    def n_bytes(self) -> int:
        """In the new file."""
        per_block, block_bytes = GGML_QUANT_SIZES[self.kind]
        return math.prod(self.shape) // per_block * block_bytes

    def read(self) -> np.ndarray:
        """Its bytes. Blocks that need not change are not unpacked and packed again."""
        stored = self._stored()
        if stored is not None and stored.type == self.kind:
            return self._original.rows(stored)
        values = self._weights.read(self._ours).float().numpy()
        arranged = np.ascontiguousarray(self._arrangement.write(values), dtype=np.float32)
        return quantize(arranged, self.kind)

    def _stored(self) -> TensorInfo | None:
        """The original's tensor where it is the one to write."""
        source = self._weights.source
        is_same = isinstance(source, GgufSource) and not self._weights.is_changed(self._ours)
        return self._original.tensors.get(self.name) if is_same else None


class _RopeFactors:
    """The one table that is no weight of the model."""

    def __init__(self, info: TensorInfo, original: GgufFile) -> None:
        self.name, self.shape, self.kind, self.n_bytes = info.name, info.shape, info.type, info.n_bytes
        self._info, self._original = info, original

    def read(self) -> np.ndarray:
        """As it is."""
        return self._original.rows(self._info)


def _tensors(weights: MergedWeights, original: GgufFile, wanted: Kind) -> list[_Tensor | _RopeFactors]:
    """All of the new file, in the order of the original; an output layer that is no longer tied comes last."""
    names = gguf_model.names_of(original, weights.outline)
    present = set(weights.names)
    order = dict.fromkeys([*original.tensors, *names])
    tensors: list[_Tensor | _RopeFactors] = []
    for name in order:
        if name == gguf_rope.FACTORS:
            tensors.append(_RopeFactors(original.tensors[name], original))
        elif names.get(name) in present:
            tensor = _Tensor(name, weights, original, names[name], wanted)
            if name in original.tensors and tensor.shape != original.tensors[name].shape:
                was = original.tensors[name].shape
                raise UserError(f"{name} has the shape {tensor.shape}, and {was} in the GGUF file that it came from.")
            tensors.append(tensor)
    if missing := present - {names[tensor.name] for tensor in tensors if tensor.name in names}:
        raise UserError(f"{min(missing)} has no name in a GGUF file of the {original.architecture} family.")
    return tensors


def _kind_for(shape: tuple[int, ...], wanted: Kind) -> Kind:
    """llama.cpp wants vectors in float32; rows that are not whole blocks keep more bits."""
    if len(shape) < 2:
        return Kind.F32
    return Kind.F16 if shape[-1] % GGML_QUANT_SIZES[wanted][0] else wanted


def _original(entry: ModelEntry, weights: MergedWeights, settings: Settings) -> GgufFile:
    """The GGUF file that the model is, or came from."""
    if isinstance(weights.source, GgufSource):
        file = weights.source.file
    else:
        file = GgufFile(_noted_base(entry, settings))
        gguf_model.check_architecture(file)
    if file.architecture not in gguf_model.OWN:
        known = ", ".join(gguf_model.OWN)
        raise UserError(f"A {file.architecture} model cannot be written as GGUF; can be: {known}.", param="model")
    return file


def _noted_base(entry: ModelEntry, settings: Settings) -> Path:
    """The GGUF file that a folder of ours was merged or trained from."""
    refusal = UserError(
        f"{entry.id} does not come from a GGUF file, whose tokenizer and metadata a new one needs. "
        "Export it as safetensors.",
        param="format",
    )
    if not (entry.path / BASE_NOTE).is_file():
        raise refusal
    base = read_json(entry.path / BASE_NOTE).get("base")
    base = base if isinstance(base, dict) else {}
    name = base.get("name")
    if not isinstance(name, str):
        raise refusal
    try:
        found = catalog.find_model(name, settings)
    except ModelNotFound as error:
        raise UserError(f"{entry.id} was made from {name}; GGUF needs its metadata. {error.message}") from error
    if found.path.suffix != ".gguf":
        raise refusal
    if base.get("weights") != digest_files(open_source(found).files, settings):
        raise UserError(
            f"{entry.id} was made from {name}, but {found.path.name} holds other weights now: put the file back from"
            " which it was made, or export it as safetensors.", param="model",
        )
    return found.path


def _add_metadata(writer: GGUFWriter, original: GgufFile, kind: Kind) -> None:
    """Every key of the original in its own type, but for those about how it was stored."""
    if "general.alignment" in original.metadata:
        writer.add_custom_alignment(original.metadata["general.alignment"])
    for key, value in original.metadata.items():
        if not key.startswith(_NOT_CARRIED):
            _add_value(writer, key, value, GGUFValueType(original.kinds[key]))
    writer.add_file_type(_FILE_TYPES[kind])
    if _QUANTIZATION_VERSION not in original.metadata:
        writer.add_quantization_version(GGML_QUANT_VERSION)


def _add_value(writer: GGUFWriter, key: str, value: Any, kind: GGUFValueType) -> None:
    if kind != GGUFValueType.ARRAY:
        writer.add_key_value(key, value, kind)
    elif len(value):  # the format has no empty arrays that this writer could write
        is_text = isinstance(value, list)
        entries = GGUFValueType.STRING if is_text else _NUMBERS[value.dtype.char.replace("Q", "L").replace("q", "l")]
        writer.add_key_value(key, value if is_text else value.tolist(), kind, entries)
