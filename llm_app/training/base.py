"""The model that is trained: dense weights, or weights that bitsandbytes has quantised, through which gradients pass.

The engine keeps weights in layouts that are made for answering (blocks, oneDNN's order). Here they stay matrices.
"""

import logging
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llm_app.config import ModelConfig, Settings
from llm_app.engine.catalog import ModelEntry
from llm_app.engine.identity import Identity, digest_config, digest_files, digest_tokenizer
from llm_app.engine.loading import choose_device
from llm_app.engine.packed import can_prepack
from llm_app.engine.placing import DENSE, DENSE_FP32, QUANTISED, is_quantised
from llm_app.engine.sources import Built, open_source
from llm_app.engine.template import ChatTemplate
from llm_app.engine.weights import check_vocabulary
from llm_app.errors import UserError
from llm_app.training.config import CPU_LENGTH, GPU_LENGTH, TrainConfig


@dataclass
class Base:
    """A model to train, and which one it is.

    `dtype`: what it computes in. `precision`: how its weights are held: fp32, bf16, nf4, int8...
    """

    entry: ModelEntry
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate | None
    identity: Identity
    device: torch.device
    dtype: torch.dtype
    precision: str
    n_context: int
    notes: tuple[str, ...] = ()

    def max_length(self, config: TrainConfig) -> int:
        """Tokens of an example at most: what was asked for, or what suits the device; never more than the context."""
        usual = CPU_LENGTH if self.device.type == "cpu" else GPU_LENGTH
        return min(config.max_length or usual, self.n_context)


def load_base(
    entry: ModelEntry, config: TrainConfig, settings: Settings, device: torch.device | None = None
) -> Base:
    """Read the model from its folder or GGUF file; nothing of it asks for gradients yet.

    `device`: of this process where there are several; else the one that the options choose.
    Raises: ModelRejected, or UserError if the files or the device do not suit the method.
    """
    device = device or choose_device(ModelConfig(entry.name, device=config.device))
    dtype = compute_dtype(config.precision, device)
    source = open_source(entry)
    tokenizer = source.tokenizer()
    template = ChatTemplate.of(tokenizer)
    wanted = _held_as(config, dtype)
    built = next(event for event in source.build(wanted, device) if isinstance(event, Built))
    model, precision = built.model, {DENSE: "bf16", DENSE_FP32: "fp32"}.get(built.precision, built.precision)
    if config.method == "full" and precision in QUANTISED:
        raise UserError(
            f"The weights of {entry.id} are stored as {precision} and cannot all be trained: choose lora.",
            param="method",
        )
    notes = list(built.notes)
    if precision in QUANTISED:
        # It warns at every product about the type it computes in.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        if not is_quantised(model):
            precision = _name(dtype)
            notes.append(f"no layer of this architecture takes {wanted}: trained over {precision} weights")
        _set_dtype(model, dtype)
    check_vocabulary(len(tokenizer), model.get_input_embeddings().num_embeddings)
    model.requires_grad_(False)
    identity = Identity(
        weights=digest_files(source.files, settings), adapter="", quantization=precision,
        tokenizer=digest_tokenizer(tokenizer), template=template.digest if template else "",
        config=digest_config(model),
    )
    n_context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 32_768
    return Base(entry, model, tokenizer, template, identity, device, dtype, precision, n_context, tuple(notes))


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What passes through the model: of `auto`, bfloat16 where the device multiplies it faster than float32."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    is_fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else can_prepack()
    return torch.bfloat16 if is_fast else torch.float32


def _held_as(config: TrainConfig, dtype: torch.dtype) -> str:
    if config.method == "qlora":
        return config.quantization
    # Full training adds small changes to the weights, which bfloat16 would round away.
    return DENSE_FP32 if config.method == "full" or dtype == torch.float32 else DENSE


def _name(dtype: torch.dtype) -> str:
    return "fp32" if dtype == torch.float32 else "bf16"


def _set_dtype(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """What is not quantised, in `dtype`; quantised weights are whole numbers and stay."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype in (torch.bfloat16, torch.float16):
            tensor.data = tensor.data.to(dtype)
