"""Puts weights, tensor by tensor, into a model that was made without any: each linear layer in its final form at once.

So the peak of memory is the finished model and one tensor, and a load can be cancelled between two tensors.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from llm_app.engine.compiled import panels
from llm_app.engine.forward import ATTENTION
from llm_app.engine.packed import PackedLinear, PrepackedLinear, can_prepack
from llm_app.errors import ModelRejected

QUANTISED = ("int8", "nf4", "fp4")  # by bitsandbytes
# In torch's own layers, which have matrices, and through which gradients pass: for training and for export.
DENSE, DENSE_FP32 = "dense", "dense fp32"
_REGISTERING = threading.Lock()  # held while torch's own method is replaced, which all threads share


@dataclass(frozen=True)
class Piece:
    """One tensor of a checkpoint, not read yet. `replace` makes a whole module of it instead of a parameter."""

    name: str
    n_bytes: int
    read: Callable[[], Tensor]
    replace: Callable[[nn.Module], nn.Module] | None = None


def attention_for(config: PretrainedConfig) -> str:
    """Our own attention where the architecture takes one, else transformers' own that leaves nothing out.

    Never what the configuration asks for: that may be code.
    """
    kind = AutoModelForCausalLM._model_mapping[type(config)]
    # Capped logits and attention sinks are lost in scaled dot-product attention.
    if not kind._supports_sdpa or getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None:
        return "eager"
    return ATTENTION if kind._supports_attention_backend else "sdpa"


def empty_model(config: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """The model without memory for its parameters; its buffers are real."""
    with _parameters_without_memory():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention_for(config))
    return model.eval()


@contextmanager
def _parameters_without_memory() -> Iterator[None]:
    """Parameters that this thread makes are on the meta device; what other threads make stays as it is.

    accelerate's init_empty_weights replaces the same method without a lock: two threads that load and plan at once
    could leave it replaced, and no model of this process would hold weights any more.
    """
    thread = threading.get_ident()
    with _REGISTERING:
        register = nn.Module.register_parameter

        def register_empty(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
            if param is not None and threading.get_ident() == thread:
                param = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)
            register(self, name, param)

        nn.Module.register_parameter = register_empty  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.register_parameter = register  # type: ignore[method-assign]


def fill(model: PreTrainedModel, pieces: Iterable[Piece], precision: str, device: torch.device) -> Iterator[int]:
    """Place every piece; yields the bytes read so far.

    Raises: ModelRejected if a tensor has another shape than the model, is not finite, or is missing.
    """
    head = model.get_output_embeddings()
    dtype = model.dtype
    n_done = 0
    for piece in pieces:
        owner_name, _, leaf = piece.name.rpartition(".")
        owner = model.get_submodule(owner_name)
        if piece.replace is not None:
            model.set_submodule(owner_name, piece.replace(owner))
        else:
            tensor = checked(piece, owner, leaf).to(device=device, dtype=dtype)
            made = linear(tensor, owner, precision, is_head=owner is head) if leaf == "weight" else None
            if made is not None:
                model.set_submodule(owner_name, made)
            else:
                _assign(owner, leaf, tensor)
        n_done += piece.n_bytes
        yield n_done


def checked(piece: Piece, owner: nn.Module, leaf: str) -> Tensor:
    """The piece's tensor, for the parameter `leaf` of its owner.

    Raises: ModelRejected if it has another shape, or is not finite.
    """
    tensor = piece.read()
    wanted = getattr(owner, leaf)
    if tensor.shape != wanted.shape:
        raise ModelRejected(
            f"Tensor {piece.name} has shape {tuple(tensor.shape)}; the configuration says {tuple(wanted.shape)}."
        )
    check_finite([(piece.name, tensor)])
    return tensor


def check_finite(tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Raises: ModelRejected naming the first tensor with NaN or infinity in it."""
    for name, tensor in tensors:
        # NaN and infinity both reach the minimum or the maximum: one pass, no second tensor.
        if tensor.is_floating_point() and tensor.numel() and not torch.isfinite(torch.stack(tensor.aminmax())).all():
            raise ModelRejected(f"Tensor {name} has non-finite values (NaN or infinity). Download the model again.")


def _assign(owner: nn.Module, leaf: str, tensor: Tensor) -> None:
    if leaf in owner._buffers:
        owner._buffers[leaf] = tensor
    else:
        owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)


def linear(weight: Tensor, owner: nn.Module, precision: str, *, is_head: bool = False) -> nn.Module | None:
    """The layer that takes the place of `owner` in this precision, or None where the owner is right as it is."""
    if precision in (DENSE, DENSE_FP32) or type(owner) not in (nn.Linear, Conv1D):
        return None
    bias = owner.bias
    assert bias is None or isinstance(bias, nn.Parameter)
    if precision in QUANTISED:
        matrix = weight.T.contiguous() if type(owner) is Conv1D else weight
        # The output layer stays as it is, as in transformers: logits suffer most.
        return _quantised(matrix, bias, precision) if not is_head and _can_quantise(matrix, precision) else None
    is_plain = weight.device.type == "cpu" and type(owner) is nn.Linear
    if is_plain and panels.SUIT and weight.dtype == torch.bfloat16 and not any(n % panels.WIDTH for n in weight.shape):
        return PackedLinear.of_dense(weight, bias)
    return PrepackedLinear(weight, bias) if is_plain and can_prepack(weight.dtype) else None


def is_quantised(model: PreTrainedModel) -> bool:
    """Whether bitsandbytes holds at least one layer."""
    return any(type(module).__name__ in ("Linear4bit", "Linear8bitLt") for module in model.modules())


def _can_quantise(weight: Tensor, precision: str) -> bool:
    """bitsandbytes' kernels for 4 bits on the CPU take whole blocks only; small gates stay as they are."""
    n_out, n_in = weight.shape
    return precision == "int8" or weight.device.type != "cpu" or (n_out % 32 == 0 and n_in % 64 == 0)


def _quantised(weight: Tensor, bias: nn.Parameter | None, precision: str) -> nn.Module:
    # It warns, once a product, that it computes in float16, and that it has not fetched a kernel from the hub.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import bitsandbytes as bnb

    n_out, n_in = weight.shape
    layer: nn.Module
    if precision == "int8":
        layer = bnb.nn.Linear8bitLt(
            n_in, n_out, bias=bias is not None, has_fp16_weights=False, threshold=6.0, device="meta"
        )
        layer.weight = bnb.nn.Int8Params(weight.cpu(), requires_grad=False, has_fp16_weights=False)
    else:
        layer = bnb.nn.Linear4bit(
            n_in, n_out, bias=bias is not None, compute_dtype=torch.bfloat16, quant_type=precision, device="meta"
        )
        layer.weight = bnb.nn.Params4bit(
            weight.cpu(), requires_grad=False, quant_type=precision, compress_statistics=True, module=layer
        )
    layer.weight = layer.weight.to(weight.device)
    layer.register_parameter("bias", bias)
    return layer


def finish(model: PreTrainedModel, precision: str, device: torch.device) -> None:
    """Tie what the configuration ties, move the buffers, and make sure that nothing is missing.

    Raises: ModelRejected naming a missing tensor.
    """
    head, table = model.get_output_embeddings(), model.get_input_embeddings()
    if model.config.tie_word_embeddings and type(head) is nn.Linear and head.weight.is_meta:
        # oneDNN's layout cannot be looked up row by row, so the table would exist twice: worth it where it is small.
        made = linear(table.weight, head, precision, is_head=True) if precision == "bf16" else None
        if made is not None:
            model.set_output_embeddings(made)
        else:
            head.weight = table.weight
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise ModelRejected(f"The model's files lack the tensor {name}.")
    model.to(device)


def convert(model: PreTrainedModel, precision: str) -> None:
    """Give the linear layers of a dense model their final form."""
    head = model.get_output_embeddings()
    for name, module in list(model.named_modules()):
        if isinstance(weight := getattr(module, "weight", None), Tensor):
            made = linear(weight.detach(), module, precision, is_head=module is head)
            if made is not None:
                model.set_submodule(name, made)
