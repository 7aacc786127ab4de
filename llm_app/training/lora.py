"""LoRA, rsLoRA and DoRA beside the frozen linear layers of a model, named and started as peft does.

Source: Hu et al. 2021 (LoRA), Kalajdzievski 2023 (rsLoRA), Liu et al. 2024 (DoRA).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from llm_app.engine.adapter_file import is_named
from llm_app.errors import UserError
from llm_app.training.config import TrainConfig
from llm_app.training.product import Dropout, Frozen, mixed, product

PREFIX = "base_model.model."  # of every name in a PEFT file


@dataclass
class Moment:
    """Which pass is under way: this decides every mask of dropout, so that a resumed run draws the same.

    `part`: of a layer that takes the input of one pass in several parts, which one.
    """

    seed: int = 0
    part: int = 0


class FrozenLinear(nn.Module):
    """A linear layer whose weights do not learn, with or without a pair of LoRA matrices beside it."""

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.frozen = Frozen(base_layer)

    def forward(self, x: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out)."""
        return product(x, self.frozen)

    @property
    def weight(self) -> Tensor:
        """As it is held; some models ask for its dtype."""
        return self.base_layer.weight  # type: ignore[return-value]


class LoraLinear(FrozenLinear):
    """x W^T + scale * dropout(x) A^T B^T + bias; with DoRA, each output is also scaled to a learned length."""

    def __init__(self, base_layer: nn.Module, config: TrainConfig, moment: Moment, index: int) -> None:
        super().__init__(base_layer)
        n_out, n_in = self.frozen.shape
        # Drawn as peft draws them, thrice, so that the same seed starts from the same matrices.
        self.lora_A = nn.Parameter(nn.Linear(n_in, config.rank, bias=False).weight)
        self.lora_B = nn.Parameter(nn.Linear(config.rank, n_out, bias=False).weight)
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B)
        self.scale = config.alpha / (math.sqrt(config.rank) if config.use_rslora else config.rank)
        self.dropout, self.moment, self.index = config.dropout, moment, index
        self.to(self.frozen.device)
        self.lora_magnitude_vector = nn.Parameter(self._lengths()) if config.use_dora else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out)."""
        has_dropout = self.training and self.dropout > 0
        drop = Dropout(self.dropout, mixed(self.moment.seed, self.moment.part, self.index)) if has_dropout else None
        is_dora = self.lora_magnitude_vector is not None
        out = product(x, self.frozen, self.lora_A, self.lora_B, self.scale, drop, with_bias=not is_dora)
        if self.lora_magnitude_vector is None:
            return out
        # The length is held constant in the gradient, as the paper and peft do.
        out = out * (self.lora_magnitude_vector / self._lengths()).to(out.dtype)
        return out if self.frozen.bias is None else out + self.frozen.bias

    @torch.no_grad()
    def _lengths(self) -> Tensor:
        """Euclidean length of each row of W + scale * B A: (n_out,), without making that matrix.

        |w + s b A|^2 = |w|^2 + 2 s b (A w) + s^2 b (A A^T) b, for each row w of W and b of B.
        """
        weight = self.frozen.dense(torch.float32)
        a, b = self.lora_A.float(), self.lora_B.float()
        crossed = (weight @ a.T * b).sum(1)
        own = (b @ (a @ a.T) * b).sum(1)
        return (weight.square().sum(1) + 2 * self.scale * crossed + self.scale**2 * own).clamp(min=0).sqrt()


@dataclass(frozen=True)
class Lora:
    """The LoRA layers of a model, by the names of the layers they stand beside."""

    layers: dict[str, LoraLinear]
    targets: tuple[str, ...]  # as adapter_config.json names them
    moment: Moment

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Everything that learns, under its name in a PEFT file."""
        for name, layer in self.layers.items():
            yield f"{PREFIX}{name}.lora_A.weight", layer.lora_A
            yield f"{PREFIX}{name}.lora_B.weight", layer.lora_B
            if layer.lora_magnitude_vector is not None:
                yield f"{PREFIX}{name}.lora_magnitude_vector", layer.lora_magnitude_vector


def add_lora(model: PreTrainedModel, config: TrainConfig) -> Lora:
    """Put a pair of matrices beside each target; all else is frozen.

    Raises: UserError if a target names no linear layer.
    """
    linear = linear_layers(model)
    chosen = _chosen(model, linear, config.targets)
    model.requires_grad_(False)
    moment = Moment()
    torch.manual_seed(config.seed)
    layers: dict[str, LoraLinear] = {}
    for name, layer in linear.items():
        if name in chosen:
            layers[name] = LoraLinear(layer, config, moment, len(layers))
            model.set_submodule(name, layers[name])
        elif type(layer).__name__ in ("Linear4bit", "Linear8bitLt"):
            # bitsandbytes' own pass in evaluation changes the weights' layout for good.
            model.set_submodule(name, FrozenLinear(layer))
    return Lora(layers, _short_names(list(layers), list(linear)), moment)


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Name -> layer of everything that multiplies with one matrix, quantised or not."""
    return {name: module for name, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D))}


def _chosen(model: PreTrainedModel, linear: dict[str, nn.Module], targets: Sequence[str]) -> set[str]:
    if not targets:
        head = model.get_output_embeddings()
        return {name for name, layer in linear.items() if layer is not head}
    for target in targets:
        if not any(is_named(name, target) for name in linear):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
            problem = f"targets names {target}, which is no linear layer here; there are: {known}."
            raise UserError(problem, param="targets")
    return {name for name in linear if any(is_named(name, target) for target in targets)}


def _short_names(chosen: list[str], linear: list[str]) -> tuple[str, ...]:
    """The last parts of the names where they mean these layers and no others, else whole names."""
    leaves = sorted({name.rpartition(".")[2] for name in chosen})
    meant = {name for name in linear if any(is_named(name, leaf) for leaf in leaves)}
    return tuple(leaves) if meant == set(chosen) else tuple(chosen)
