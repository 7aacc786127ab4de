"""What a training run needs before it starts, from the model's shape alone: nothing is loaded for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from llm_app.config import ModelConfig
from llm_app.engine import gguf_model, placing
from llm_app.engine.loading import choose_device
from llm_app.engine.packed import can_prepack
from llm_app.engine.sources import FolderSource, GgufSource, Source
from llm_app.training.config import CPU_LENGTH, GPU_LENGTH, TrainConfig
from llm_app.training.encode import Encoded
from llm_app.training.lora import add_lora, linear_layers
from llm_app.training.loss import HEAD_ROWS
from llm_app.training.pairs import Pair
from llm_app.training.rows import n_trained

_LINEAR_BYTES = {"nf4": 0.52, "int8": 1.01}  # a weight, with its share of the scales
_LEARNED_BYTES = 16  # of a weight that learns: itself, its gradient and two moments, all in float32
# The outputs of linear layers are kept for the way back, and about as much again of what is made of them.
_KEPT = 2.0
# For pairs peft and TRL keep more, much of it in float32 whatever is computed in; both measured on the embedded model.
_PAIR_BYTES, _TILE_BYTES = 12.0, 16.0
TRL_TILE = (4096, 32768)  # tokens and words whose logits TRL holds at once for pairs
_PROCESS_BYTES = 650 * 2**20  # Python with torch and transformers
_SPREAD = (0.8, 1.4)  # of everything but the weights


@dataclass(frozen=True)
class Need:
    """Memory in bytes, at the least and at the most; `n_learned`: numbers that are trained."""

    low: int
    high: int
    n_learned: int


@dataclass(frozen=True)
class Shape:
    """A model's sizes; `n_outputs`: numbers that its linear layers, without the last one, give for a token."""

    n_linear: int  # weights of those layers
    n_other: int
    n_learned: int
    n_outputs: int
    n_layers: int
    hidden: int
    vocabulary: int


def max_length(source: Source, config: TrainConfig) -> int:
    """Tokens of an example at most: what was asked for, or what suits the device; never more than the context."""
    usual = CPU_LENGTH if device_of(config).type == "cpu" else GPU_LENGTH
    found = _config_of(source)
    n_context = getattr(found.get_text_config(), "max_position_embeddings", None) if found is not None else None
    return min(config.max_length or usual, n_context or config.max_length or usual)


def need(source: Source, config: TrainConfig, examples: Sequence[Encoded | Pair]) -> Need | None:
    """Memory of the run in its largest pass; None for a model whose shape only loading would tell.

    Raises: UserError if a target names no layer.
    """
    found = _config_of(source)
    if found is None:
        return None
    shape = shape_of(found, config)
    width = 4 if config.precision == "fp32" or (device_of(config).type == "cpu" and not can_prepack()) else 2
    n_tokens, n_logits = _largest_pass(examples, config, max_length(source, config), shape.vocabulary)
    linear = _LINEAR_BYTES[config.quantization] if config.method == "qlora" else width
    weights = 0.0 if config.method == "full" else shape.n_linear * linear + shape.n_other * width
    has_pairs = config.objective == "dpo"
    kept = shape.n_outputs * (_PAIR_BYTES if has_pairs else _KEPT * width) * n_tokens
    if config.checkpoints_gradients:
        kept = kept / shape.n_layers + shape.n_layers * shape.hidden * width * n_tokens
    logits = n_logits * (_TILE_BYTES if has_pairs else 4 + 2 * width)
    changing = kept + logits + shape.n_learned * _LEARNED_BYTES + _PROCESS_BYTES
    low, high = (int(weights + changing * part) for part in _SPREAD)
    return Need(low, high, shape.n_learned)


def _largest_pass(
    examples: Sequence[Encoded | Pair], config: TrainConfig, longest: int, vocabulary: int
) -> tuple[int, int]:
    """Tokens in it, padding among them, and logits that are held at once; `longest`: tokens of an example at most."""
    n = config.batch_size
    if config.objective == "dpo":
        n_tokens = n * max(each.n_padded for each in examples if isinstance(each, Pair))
        return n_tokens, min(n_tokens, TRL_TILE[0]) * min(vocabulary, TRL_TILE[1])
    lengths, trained = (
        sorted(found, reverse=True)[: n * config.accumulation]
        for found in ((len(each.ids) for each in examples), (n_trained(each) for each in examples))
    )
    n_read = sum(trained if config.packs else trained[:n])  # more than are read at a time change nothing
    # Side by side, short examples fill a pass up to the room of long ones.
    room = max(sum(lengths[:n]), min(sum(lengths), n * longest))
    return room if config.packs else n * lengths[0], min(n_read, HEAD_ROWS) * vocabulary


def shape_of(found: PretrainedConfig, config: TrainConfig) -> Shape:
    """The sizes of the model that this configuration describes, with what learns in it.

    Raises: UserError if a target names no layer.
    """
    model = placing.empty_model(found, torch.bfloat16)
    model.tie_weights()  # else an output layer that is the embedding counts twice
    n_all = sum(parameter.numel() for parameter in model.parameters())
    head = model.get_output_embeddings()
    layers = [layer for layer in linear_layers(model).values() if layer is not head]
    n_linear = sum(_weight(layer).numel() for layer in layers)
    text = found.get_text_config()
    return Shape(
        n_linear, n_all - n_linear, n_all if config.method == "full" else _n_lora(model, config),
        sum(_n_out(layer) for layer in layers), int(text.num_hidden_layers), int(text.hidden_size),
        int(text.vocab_size),
    )  # fmt: skip


def _n_lora(model: PreTrainedModel, config: TrainConfig) -> int:
    with torch.random.fork_rng(devices=[]):  # matrices are drawn, which is nobody else's business
        return sum(parameter.numel() for _, parameter in add_lora(model, config).parameters())


def _weight(layer: nn.Module) -> torch.Tensor:
    return layer.weight  # type: ignore[return-value]


def _n_out(layer: nn.Module) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else _weight(layer).shape[1])


def device_of(config: TrainConfig) -> torch.device:
    """Raises: UserError if a GPU is asked for and there is none."""
    return choose_device(ModelConfig(device=config.device))


def _config_of(source: Source) -> PretrainedConfig | None:
    if isinstance(source, FolderSource):
        return source.config
    if isinstance(source, GgufSource) and source.file.architecture in gguf_model.OWN:
        return gguf_model.config_of(source.file)
    return None
