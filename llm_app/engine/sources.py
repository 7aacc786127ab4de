"""Where a model comes from, a folder or a GGUF file, and how it becomes a transformers model in a given precision."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.pytorch_utils import Conv1D

from llm_app.engine import gguf_model, gguf_rope, placing
from llm_app.engine.catalog import ModelEntry
from llm_app.engine.gguf_file import GgufFile
from llm_app.engine.packed import PackedLinear, can_pack
from llm_app.engine.placing import Piece
from llm_app.engine.weights import CheckedFolder, check_folder
from llm_app.errors import ModelRejected

_DTYPES = {"fp32": torch.float32, placing.DENSE_FP32: torch.float32}  # every other precision computes in bfloat16
# Of every call of transformers: no code of a model's folder runs, and nothing is fetched.
OFFLINE: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}


@dataclass
class Built:
    """A finished model, the precision it really has, and what a person should know about it."""

    model: PreTrainedModel
    precision: str
    notes: list[str] = field(default_factory=list)


class Source(ABC):
    """Checked files of one model."""

    files: list[Path]  # those with weights

    @abstractmethod
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Raises: ModelRejected if it cannot be read."""

    @abstractmethod
    def build(self, precision: str, device: torch.device) -> Iterator[float | Built]:
        """Fractions done, at last the model."""

    @abstractmethod
    def outline(self) -> PreTrainedModel:
        """The model without memory for its weights: their names and shapes, and the configuration."""

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """Every weight under the model's own name for it, dense, none of them read yet; tied ones once.

        Raises: ModelRejected if they are stored quantized.
        """

    def _built_pieces(self) -> Iterator[Piece]:
        """Through a whole model, where the files name their tensors otherwise than the model does."""
        for event in self.build(placing.DENSE_FP32, torch.device("cpu")):
            if isinstance(event, Built):
                tied = set(getattr(event.model, "all_tied_weights_keys", None) or ())
                for name, tensor in event.model.state_dict().items():
                    if name not in tied:
                        yield Piece(name, tensor.nbytes, partial(_given, tensor))


def open_source(entry: ModelEntry) -> Source:
    """Check the files, reading headers only.

    Raises: ModelRejected.
    """
    return GgufSource(entry.path) if entry.path.suffix == ".gguf" else FolderSource(entry.path)


class FolderSource(Source):
    """A Hugging Face folder with safetensors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checked: CheckedFolder = check_folder(path)
        self.files = sorted({info.file for info in self.checked.tensors.values()})
        self.config = or_rejected(path, "config.json", partial(AutoConfig.from_pretrained, path, **OFFLINE))

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The folder's own."""
        return or_rejected(self.path, "the tokenizer", partial(AutoTokenizer.from_pretrained, self.path, **OFFLINE))

    def build(self, precision: str, device: torch.device) -> Iterator[float | Built]:
        """Tensor by tensor where the names are the model's own, else through transformers' converters."""
        stored = self._stored_precision()
        if stored:
            notes = [] if precision == stored else [f"the weights are stored as {stored} and stay so"]
            yield from self._converted(stored, torch.bfloat16, device, notes)
            return
        dtype = _DTYPES.get(precision, torch.bfloat16)
        model = placing.empty_model(self.config, dtype)
        pieces = self._plain_pieces(model)
        if pieces is None:
            del model
            yield from self._converted(precision, dtype, device, [])
            return
        for n_done in placing.fill(model, pieces, precision, device):
            yield n_done / self.checked.n_bytes
        placing.finish(model, precision, device)
        if (self.path / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(self.path, local_files_only=True)
        yield Built(model, precision)

    def outline(self) -> PreTrainedModel:
        """As the configuration describes it."""
        return placing.empty_model(self.config, torch.float32)

    def pieces(self) -> Iterator[Piece]:
        """Read from the files; through transformers' converters where the names are not the model's own."""
        if stored := self._stored_precision():
            raise ModelRejected(
                f"The weights of {self.path.name} are stored as {stored}. Take the unquantized model for this."
            )
        plain = self._plain_pieces(self.outline())
        yield from self._built_pieces() if plain is None else plain

    def _plain_pieces(self, model: PreTrainedModel) -> list[Piece] | None:
        names = _plain_names(model, set(self.checked.tensors))
        if names is None:
            return None
        return [
            Piece(name, info.n_bytes, partial(_read_tensor, info.file, name))
            for name, info in self.checked.tensors.items() if name in names
        ]

    def _stored_precision(self) -> str | None:
        """The precision of weights that bitsandbytes has quantized already."""
        stored = self.checked.config.get("quantization_config")
        if not stored:
            return None
        return str(stored.get("bnb_4bit_quant_type", "fp4")) if stored.get("load_in_4bit") else "int8"

    def _converted(
        self, precision: str, dtype: torch.dtype, device: torch.device, notes: list[str]
    ) -> Iterator[float | Built]:
        model, info = AutoModelForCausalLM.from_pretrained(
            self.path, config=self.config, dtype=dtype, attn_implementation=placing.attention_for(self.config),
            use_safetensors=True, output_loading_info=True, **OFFLINE,
        )
        if info["missing_keys"]:
            raise ModelRejected(f"The model's files lack the tensor {sorted(info['missing_keys'])[0]}.")
        yield 0.6
        placing.check_finite(model.state_dict().items())
        yield 0.7
        if not self._stored_precision():
            placing.convert(model.to(device), precision)
        yield Built(model.eval(), precision, notes)


def or_rejected(path: Path, what: str, read: Any) -> Any:
    """What `read` gives. Raises: ModelRejected saying what of this folder cannot be read."""
    try:
        return read()
    except (ValueError, OSError, KeyError, TypeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelRejected(f"{what} of {path.name} cannot be read: {reason}") from error


def _read_tensor(file: Path, name: str) -> Tensor:
    with safe_open(file, "pt") as tensors:
        return tensors.get_tensor(name)


def _given(tensor: Tensor) -> Tensor:
    return tensor


def _plain_names(model: PreTrainedModel, names: set[str]) -> set[str] | None:
    """The checkpoint's names to read if they are the model's own and complete, else None."""
    ignored = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_unexpected or ()]
    wanted = set(model.state_dict())
    names = {name for name in names if name in wanted or not any(pattern.search(name) for pattern in ignored)}
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    return names if names <= wanted and wanted - names == tied else None


class GgufSource(Source):
    """A GGUF file."""

    def __init__(self, path: Path) -> None:
        self.file, self.files = GgufFile(path), [path]
        gguf_model.check_architecture(self.file)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The one in the metadata."""
        return gguf_model.tokenizer_of(self.file)

    def build(self, precision: str, device: torch.device) -> Iterator[float | Built]:
        """Packed on the CPU for precision gguf, else dequantised."""
        notes: list[str] = []
        packed = precision == "gguf"
        if packed and device.type != "cpu":
            packed, precision = False, "bf16"
            notes.append("blocks stay packed on the CPU only: dequantised to bf16 on this device")
        dtype = _DTYPES.get(precision, torch.bfloat16)
        if self.file.architecture not in gguf_model.OWN:
            yield from self._through_transformers(precision, dtype, device, notes)
            return
        model = placing.empty_model(gguf_model.config_of(self.file), dtype)
        pieces = gguf_model.pieces_of(self.file, model, packed=packed)
        n_bytes = sum(info.n_bytes for info in self.file.tensors.values())
        for n_done in placing.fill(model, pieces, precision, device):
            yield n_done / n_bytes
        placing.finish(model, precision, device)
        gguf_rope.apply_factors(self.file, model)
        gguf_model.set_end_tokens(self.file, model)
        if packed:
            precision, more = self._what_is_packed(model)
            notes += more
        yield Built(model, precision, notes)

    def outline(self) -> PreTrainedModel:
        """As the metadata describe it, with the tokens that end a reply."""
        if self.file.architecture not in gguf_model.OWN:
            return placing.empty_model(self._read_config(), torch.float32)
        model = placing.empty_model(gguf_model.config_of(self.file), torch.float32)
        gguf_model.set_end_tokens(self.file, model)
        return model

    def describe_rope(self, outline: PreTrainedModel) -> None:
        """Put into the outline's configuration what the file says in a table of its own. Raises: ModelRejected."""
        gguf_rope.describe_factors(self.file, outline)

    def pieces(self) -> Iterator[Piece]:
        """Dequantised one by one, or through transformers where it alone knows the architecture."""
        is_own = self.file.architecture in gguf_model.OWN
        yield from gguf_model.pieces_of(self.file, self.outline(), packed=False) if is_own else self._built_pieces()

    def _read_config(self) -> PretrainedConfig:
        path = self.file.path
        read = partial(AutoConfig.from_pretrained, path.parent, gguf_file=path.name, **OFFLINE)
        config: PretrainedConfig = or_rejected(path, "the metadata", read)
        return config

    def _what_is_packed(self, model: PreTrainedModel) -> tuple[str, list[str]]:
        """The precision to report, and which layers had to be dequantised."""
        n_packed = sum(isinstance(each, PackedLinear) and each.tiles.n_bits < 16 for each in model.modules())
        n_dense = sum(isinstance(module, (nn.Linear, Conv1D)) for module in model.modules()) - n_packed
        if not n_dense:
            return "gguf", []
        kinds = {
            info.type.name for info in self.file.tensors.values()
            if len(info.shape) == 2 and not can_pack(info.shape, info.type)
        }
        stored = ", ".join(sorted(kinds)) or "packable blocks, which this architecture transposes"
        return "gguf" if n_packed else "bf16", [f"layers dequantised to bf16: {n_dense} (stored as {stored})"]

    def _through_transformers(
        self, precision: str, dtype: torch.dtype, device: torch.device, notes: list[str]
    ) -> Iterator[float | Built]:
        from transformers import GgufConfig

        path = self.file.path
        config = self._read_config()
        load = partial(
            AutoModelForCausalLM.from_pretrained, path.parent, gguf_file=path.name, dtype=dtype,
            attn_implementation=placing.attention_for(config), quantization_config=GgufConfig(dequantize=True),
            **OFFLINE,
        )
        model = or_rejected(path, "the model", load)
        yield 0.7
        placing.check_finite(model.state_dict().items())
        if precision == "gguf":
            precision = "bf16"
            notes.append(f"blocks of a {self.file.architecture} model cannot stay packed: dequantised to bf16")
        placing.convert(model.to(device).eval(), precision)
        yield Built(model, precision, notes)
