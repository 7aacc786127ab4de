"""What an adapter does to one linear layer, as a forward hook of it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from llm_app.engine.adapter_file import LoraPair

LEAST_GROWTH = 1e-5  # of a DoRA adapter that changes something; below, it is rounding


@dataclass(frozen=True, eq=False)
class Change:
    """A pair where its layer computes; `growth` and `bias` only of DoRA, whose factor also meets the base's part."""

    pair: LoraPair
    growth: Tensor | None
    bias: Tensor | None

    @classmethod
    def of(cls, pair: LoraPair, layer: nn.Module) -> "Change":
        """The pair on the layer's device."""
        device = next((tensor.device for tensor in (*layer.parameters(), *layer.buffers())), torch.device("cpu"))
        # Tensors that autograd may or may not follow, wherever this is called.
        with torch.inference_mode(False), torch.no_grad():
            magnitude = None if pair.magnitude is None else pair.magnitude.to(device, copy=True)
            placed = LoraPair(pair.a.to(device, copy=True), pair.b.to(device, copy=True), pair.scale, magnitude)
            # Once: the base never changes.
            growth = None if magnitude is None else placed.growth(dense_weight(layer))
        bias = layer.bias if growth is not None else None
        assert bias is None or isinstance(bias, Tensor)
        return cls(placed, growth, bias)

    @property
    def has_effect(self) -> bool:
        """Whether it changes anything; a row that keeps its length up to rounding stays as it is."""
        has_grown = self.growth is not None and bool(((self.growth - 1).abs() > LEAST_GROWTH).any())
        return has_grown or (self.pair.scale != 0 and bool((self.pair.b @ self.pair.a).any()))

    def __call__(self, _module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """The hook: adds the pair's part. The order of operations, and so every bit, is peft's."""
        pair, growth = self.pair, self.growth
        part = functional.linear(functional.linear(inputs[0].to(pair.a.dtype), pair.a), pair.b)
        if growth is None:
            return (output + part * pair.scale).to(output.dtype)
        base = output if self.bias is None else output - self.bias  # DoRA leaves the bias alone
        return (output + ((growth - 1) * base + growth * part * pair.scale)).to(output.dtype)


def dense_weight(layer: nn.Module) -> Tensor:
    """The matrix (n_out, n_in) of a linear layer of any kind, made anew where it is packed or quantised."""
    if type(layer).__name__ not in ("Linear4bit", "Linear8bitLt"):
        assert isinstance(layer.weight, Tensor)
        return layer.weight.T if isinstance(layer, Conv1D) else layer.weight
    # bitsandbytes repacks its blocks when a layer first runs: what comes out of it is the one thing to rely on.
    assert isinstance(layer, nn.Linear)
    identity = torch.eye(layer.in_features, dtype=torch.bfloat16, device=layer.weight.device)
    # `forward`, since calling the layer would also run the hooks of the active adapter.
    output = layer.forward(identity)
    return (output if layer.bias is None else output - layer.bias).T
