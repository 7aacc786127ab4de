"""The product of a frozen linear layer and of the LoRA pair beside it, as one step of autograd.

Written out as modules, each layer keeps its input, the input after dropout, what the pair makes of it and two sums for
the backward pass. Here it keeps the input and `rank` numbers a token; a quantised weight is unpacked once in each
direction and never kept.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.pytorch_utils import Conv1D


class Frozen:
    """A linear layer's weight as a matrix (n_out, n_in), however it is held."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self.bias: Tensor | None = layer.bias
        self.device: torch.device = layer.weight.device
        is_transposed = isinstance(layer, Conv1D)
        n_in, n_out = layer.weight.shape if is_transposed else (layer.in_features, layer.out_features)
        self.shape: tuple[int, int] = (n_out, n_in)

    def dense(self, dtype: torch.dtype) -> Tensor:
        """The matrix; made anew at each call where it is quantised."""
        layer, kind = self._layer, type(self._layer).__name__
        if kind == "Linear4bit":
            from bitsandbytes.functional import dequantize_4bit

            return dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(dtype)
        if kind == "Linear8bitLt":
            # One scale a row. bitsandbytes' own product would round the activations to 8 bits as well.
            weight = layer.weight
            scale = weight.SCB if weight.SCB is not None else layer.state.SCB
            return (weight.data.to(torch.float32) * (scale[:, None] / 127)).to(dtype)
        weight = layer.weight.T if isinstance(layer, Conv1D) else layer.weight
        return weight.detach().to(dtype)


@dataclass(frozen=True)
class Dropout:
    """Zeros at `share` of the places. The seed decides which, so that they are drawn again instead of kept."""

    share: float
    seed: int

    @property
    def growth(self) -> float:
        """What the rest is to be multiplied by, so that the mean stays."""
        return 1 / (1 - round(self.share * 2**16) / 2**16)

    def draw(self, x: Tensor) -> Tensor:
        """For each place of x, as many bits as it has: all of them set to keep it, none to drop it.

        Four times as fast on a CPU as torch's own dropout, of which there would be one a layer.
        """
        n_bits = 8 * x.element_size()
        whole = torch.int16 if n_bits == 16 else torch.int32
        generator = torch.Generator(x.device).manual_seed(self.seed)
        words = torch.empty(-(-x.numel() * n_bits // 64), dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None, generator=generator)
        drawn = words.view(whole)[: x.numel()].view(x.shape)
        least = (round(self.share * 2**16) - 2**15) << (n_bits - 16)
        return torch.ge(drawn, least, out=torch.empty_like(drawn)).neg_()


def kept(x: Tensor, bits: Tensor) -> Tensor:
    """x with zeros where nothing is kept; a product with zeros and ones would take seven times as long."""
    return x.view(bits.dtype).bitwise_and(bits).view(x.dtype)


def mixed(*parts: int) -> int:
    """One seed out of several numbers."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")


def product(
    x: Tensor, frozen: Frozen, a: Tensor | None = None, b: Tensor | None = None, scale: float = 1.0,
    drop: Dropout | None = None, *, with_bias: bool = True,
) -> Tensor:
    """x W^T + scale * drop(x) A^T B^T + bias: (..., n_in) -> (..., n_out), computed in the dtype of x."""
    bias = frozen.bias if with_bias else None
    scale *= drop.growth if drop else 1.0
    made: Tensor = _Product.apply(x, a, b, frozen, scale, drop, bias)
    return made


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, a: Tensor | None, b: Tensor | None, frozen: Frozen, scale: float, drop: Dropout | None,
        bias: Tensor | None,
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        dtype = flat.dtype
        out = functional.linear(flat, frozen.dense(dtype), None if bias is None else bias.to(dtype))
        low = None
        if a is not None and b is not None:
            low = (kept(flat, drop.draw(flat)) if drop else flat) @ a.to(dtype).T
            out.addmm_(low, b.to(dtype).T, alpha=scale)
        ctx.save_for_backward(flat if a is not None else None, a, b, low)
        ctx.frozen, ctx.scale, ctx.drop, ctx.shape = frozen, scale, drop, x.shape
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        flat, a, b, low = ctx.saved_tensors
        drop: Dropout | None = ctx.drop
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        dtype = gradient.dtype
        to_x = gradient @ ctx.frozen.dense(dtype) if ctx.needs_input_grad[0] else None
        to_a = to_b = None
        if a is not None:
            inner = (gradient @ b.to(dtype)).mul_(ctx.scale)  # (n, rank)
            bits = drop.draw(flat) if drop else None
            to_a = (inner.T @ (flat if bits is None else kept(flat, bits))).to(a.dtype)
            to_b = (gradient.T @ low).to(b.dtype).mul_(ctx.scale)
            if to_x is not None and bits is not None:
                to_x.add_(kept(inner @ a.to(dtype), bits))
            elif to_x is not None:
                to_x.addmm_(inner, a.to(dtype))
        return (None if to_x is None else to_x.view(ctx.shape)), to_a, to_b, None, None, None, None
