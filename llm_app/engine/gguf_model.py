"""A transformers model, its configuration and its tokenizer out of a GGUF file."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGMLQuantizationType, get_tensor_name_map
from torch import Tensor, nn
from transformers import (
    CONFIG_MAPPING,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
from transformers.integrations.gguf import GGUF_CONFIG_ARCHS, GGUF_TOKENIZER_MAPPING, convert_gguf_tokenizer

from llm_app.engine import gguf_rope
from llm_app.engine.block_embedding import BlockEmbedding
from llm_app.engine.gguf_arrangement import AS_IT_IS, arrangement
from llm_app.engine.gguf_file import GgufFile, TensorInfo
from llm_app.engine.gguf_rope import single
from llm_app.engine.packed import PackedLinear, can_pack, check_blocks, keeps_copies
from llm_app.engine.placing import Piece
from llm_app.errors import ModelRejected

# Read by our own loader, which can keep blocks packed and be cancelled.
OWN = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt2")
_NOT_CAUSAL = ("general", "tokenizer", "t5", "umt5")
SUPPORTED = tuple(sorted({*OWN, *GGUF_CONFIG_MAPPING, *GGUF_CONFIG_ARCHS} - set(_NOT_CAUSAL)))
_MODEL_TYPES = {"gemma3": "gemma3_text"}
_SPECIAL_TOKENS = (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
_LAYER = re.compile(r"blk\.(\d+)\.")
_NUMBERS = (
    "block_count", "context_length", "embedding_length", "attention.head_count", "attention.head_count_kv",
)
_FRACTIONS = ("epsilon", "freq_base", "factor", "scale", "softcapping", "norm", "theta")


def check_architecture(file: GgufFile) -> None:
    """Look at everything in the header that the model will be made from.

    Raises: ModelRejected naming the architecture and the supported ones, or the key at fault.
    """
    if file.architecture.replace("-", "_") not in SUPPORTED and file.architecture not in ("qwen2moe", "qwen3moe"):
        raise ModelRejected(
            f"Architecture {file.architecture[:80]} is not supported for GGUF; supported: {', '.join(SUPPORTED)}."
        )
    for key, value in file.metadata.items():
        wanted = _wanted(key, file.architecture)
        if wanted is not None and not _is(wanted, value):
            raise ModelRejected(f"{key} of {file.path.name} is not {wanted}.")
    n_claimed = single(file.metadata.get(f"{file.architecture}.block_count", 0), "block_count")
    n_found = len({match[1] for name in file.tensors if (match := _LAYER.match(name))})
    if n_claimed > n_found:  # before anything is made for layers that are not there
        raise ModelRejected(f"{file.path.name} claims {n_claimed:,} layers and has tensors of {n_found:,}.")


def _wanted(key: str, architecture: str) -> str | None:
    """What the value of this key has to be, where anything depends on it."""
    if key.startswith("tokenizer."):
        leaf = key.rpartition(".")[2]
        if leaf.endswith("_token_id"):
            return "a token's number"
        kinds = {
            "model": "text", "pre": "text", "chat_template": "text", "tokens": "a list of texts",
            "merges": "a list of texts", "scores": "a list of numbers", "token_type": "a list of numbers",
        }
        return kinds.get(leaf, "true or false" if leaf.startswith("add_") else None)
    name = key.removeprefix(f"{architecture}.")
    if name == key:
        return None
    if name == "rope.scaling.type":
        return "text"
    if name in _NUMBERS or name in ("attention.key_length", "rope.scaling.original_context_length"):
        return "a whole number"
    is_ours = architecture in OWN and GGUF_CONFIG_MAPPING.get(architecture, GGUF_CONFIG_MAPPING["gemma2"]).get(name)
    if not is_ours and name != "rope.scaling.factor":
        return None
    return "a number" if any(part in name for part in _FRACTIONS) else "a whole number"


def _is(wanted: str, value: Any) -> bool:
    if wanted == "a list of texts":
        return isinstance(value, list)
    if wanted == "a list of numbers":
        return isinstance(value, np.ndarray)
    if wanted == "text":
        return isinstance(value, str)
    if wanted == "true or false" or isinstance(value, bool):
        return isinstance(value, bool)
    if isinstance(value, np.ndarray) and wanted != "a token's number":  # one number for each layer
        return value.dtype.kind in ("iuf" if wanted == "a number" else "iu")
    return isinstance(value, int) or (wanted == "a number" and isinstance(value, float))


def config_of(file: GgufFile) -> PretrainedConfig:
    """The configuration that the metadata describes; sizes come from the tensors where they can."""
    architecture = file.architecture
    fields: dict[str, Any] = {}
    for key, name in GGUF_CONFIG_MAPPING.get(architecture, GGUF_CONFIG_MAPPING["gemma2"]).items():
        value = file.metadata.get(f"{architecture}.{key}")
        if name is not None and value is not None:
            fields[name] = single(value, f"{architecture}.{key}")
    table = file.tensors.get("token_embd.weight")
    if table is None or len(table.shape) != 2:
        raise ModelRejected(f"{file.path.name} lacks the tensor token_embd.weight.")
    fields["vocab_size"] = table.shape[0]
    fields["tie_word_embeddings"] = "output.weight" not in file.tensors
    for ours, theirs in _SPECIAL_TOKENS:
        fields[f"{ours}_token_id"] = file.metadata.get(f"tokenizer.ggml.{theirs}_token_id")
    head_size = file.metadata.get(f"{architecture}.attention.key_length")
    if head_size is not None:
        fields["head_dim"] = single(head_size, f"{architecture}.attention.key_length")
    if architecture == "gpt2":
        fields["n_positions"] = fields.pop("n_ctx", 1024)
        fields["n_inner"] = fields.pop("feed_forward_length", None)
    if architecture == "llama":
        fields["attention_bias"] = "blk.0.attn_q.bias" in file.tensors
    try:
        config = CONFIG_MAPPING[_MODEL_TYPES.get(architecture, architecture)](**fields)
    except (TypeError, ValueError, KeyError, ArithmeticError) as error:
        raise ModelRejected(f"The metadata of {file.path.name} does not describe a model: {error}.") from error
    gguf_rope.add_scaling(config, file)
    return config


def tokenizer_of(file: GgufFile) -> PreTrainedTokenizerBase:
    """The tokenizer in the metadata, built by transformers' own converter."""
    metadata = file.metadata
    parts = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for key, name in GGUF_TOKENIZER_MAPPING["tokenizer"].items()
        if (value := metadata.get(f"tokenizer.{key}")) is not None
    }
    tokens = parts.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens[:1]):
        raise ModelRejected(f"{file.path.name} has no tokenizer.")
    options = {
        name: metadata[f"tokenizer.{key}"]
        for key, name in GGUF_TOKENIZER_MAPPING["tokenizer_config"].items()
        if f"tokenizer.{key}" in metadata
    }
    if parts.get("tokenizer_type") == "llama":
        options.setdefault("add_bos_token", True)  # llama.cpp adds it unless the file says otherwise
    for ours, theirs in _SPECIAL_TOKENS:
        index = metadata.get(f"tokenizer.ggml.{theirs}_token_id")
        if index is not None:
            if not 0 <= index < len(tokens):
                raise ModelRejected(f"The {theirs} token of {file.path.name} is number {index} of {len(tokens)}.")
            options[f"{ours}_token"] = tokens[index]
    try:
        backend, _ = convert_gguf_tokenizer(file.architecture, parts)
    except Exception as error:  # the converter meets arbitrary vocabularies with whatever error comes
        raise ModelRejected(f"The tokenizer of {file.path.name} cannot be read: {error}.") from error
    return PreTrainedTokenizerFast(tokenizer_object=backend, **options)


def pieces_of(file: GgufFile, model: PreTrainedModel, *, packed: bool) -> Iterator[Piece]:
    """Every tensor of the file under the model's name for it; with `packed`, matrices stay in their blocks.

    Raises: ModelRejected for a tensor that the architecture does not have, since leaving it out would change answers.
    """
    names = names_of(file, model)
    is_wide = packed and keeps_copies(n_packable(file, model.config.tie_word_embeddings))
    for name, info in file.tensors.items():
        if name == gguf_rope.FACTORS:
            continue
        if name not in names:
            raise ModelRejected(f"Tensor {name[:80]} of {file.path.name} has no place in a {file.architecture} model.")
        yield _piece(file, info, names[name], model, packed=packed, is_wide=is_wide)
        if packed and name == "token_embd.weight" and model.config.tie_word_embeddings:
            yield from _tied_head(file, info, model, is_wide=is_wide)


def n_packable(file: GgufFile, is_tied: bool) -> int:
    """Weights of all layers that can stay packed. `is_tied`: the output layer is the embedding."""
    tables = () if is_tied else ("token_embd.weight",)  # these are looked up only
    infos = [info for name, info in file.tensors.items() if name not in tables]
    return sum(prod(info.shape) for info in infos if can_pack(info.shape, info.type))


def _tied_head(file: GgufFile, info: TensorInfo, model: PreTrainedModel, *, is_wide: bool) -> Iterator[Piece]:
    """The output layer gets blocks of its own: a lookup wants rows, a product wants them interleaved."""
    head = model.get_output_embeddings()
    name = next(name for name, module in model.named_modules() if module is head)
    if can_pack(info.shape, info.type):
        replace = partial(_packed_linear, file, info, AS_IT_IS.read, is_wide)
        yield Piece(f"{name}.weight", 0, partial(_dense, file, info, AS_IT_IS.read), replace)


def names_of(file: GgufFile, model: PreTrainedModel) -> dict[str, str]:
    """GGUF's name -> transformers' name, of everything that such a model has."""
    number = next(arch for arch in MODEL_ARCH if MODEL_ARCH_NAMES[arch] == file.architecture)
    table = get_tensor_name_map(number, model.config.num_hidden_layers)
    names = {}
    for ours in model.state_dict():
        stem, _, leaf = ours.rpartition(".")
        theirs = table.get_name(stem)
        if theirs is not None:
            names[f"{theirs}.{leaf}"] = ours
    return names


def _piece(
    file: GgufFile, info: TensorInfo, name: str, model: PreTrainedModel, *, packed: bool, is_wide: bool
) -> Piece:
    arrange = arrangement(file.architecture, info.name, model.config).read
    replace: Callable[[nn.Module], nn.Module] | None = None
    if packed and can_pack(info.shape, info.type):
        owner = model.get_submodule(name.rpartition(".")[0])
        if type(owner) is nn.Linear and tuple(owner.weight.shape) == info.shape:
            replace = partial(_packed_linear, file, info, arrange, is_wide)
        elif (
            type(owner) is nn.Embedding
            and tuple(owner.weight.shape) == info.shape
            and info.type == GGMLQuantizationType.Q8_0
        ):
            replace = partial(_block_embedding, file, info, model.dtype)
    return Piece(name, info.n_bytes, partial(_dense, file, info, arrange), replace)


def _dense(file: GgufFile, info: TensorInfo, arrange: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    return torch.from_numpy(np.array(arrange(file.values(info)), copy=True))


def _packed_linear(
    file: GgufFile, info: TensorInfo, arrange: Callable[[np.ndarray], np.ndarray], is_wide: bool, owner: nn.Module
) -> nn.Module:
    # Arrangements of packable layers move whole rows, and blocks never cross rows.
    rows = arrange(file.rows(info))
    check_blocks(info.name, rows, info.type)
    assert isinstance(owner, nn.Linear)
    return PackedLinear(rows, info.type, owner.bias, is_wide=is_wide)


def _block_embedding(file: GgufFile, info: TensorInfo, dtype: torch.dtype, _owner: nn.Module) -> nn.Module:
    rows = file.rows(info)
    check_blocks(info.name, rows, info.type)
    return BlockEmbedding(rows, dtype)


def set_end_tokens(file: GgufFile, model: PreTrainedModel) -> None:
    """Every token that ends a reply: of the text, of the turn, of the message."""
    ids = [file.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    ends = sorted({index for index in ids if index is not None})
    model.generation_config = GenerationConfig.from_model_config(model.config)
    model.generation_config.eos_token_id = ends or None
