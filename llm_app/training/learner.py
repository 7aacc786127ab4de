"""A model made ready to learn by one of the methods: what learns, and the loss of a few examples."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llm_app.training.base import Base
from llm_app.training.config import TrainConfig
from llm_app.training.lora import Lora, Moment, add_lora
from llm_app.training.loss import Objective
from llm_app.training.optim import Weights
from llm_app.training.rows import Tokens, in_one_row, keeps_apart, padded


class Learns(Protocol):
    """What the loop asks of a model that learns."""

    weights: Weights
    is_packing: bool

    @property
    def targets(self) -> tuple[str, ...]:
        """The layers with an adapter, as adapter_config.json names them; none where all weights learn."""

    def trains(self, is_training: bool) -> None:
        """Whether dropout and noise are on."""

    def loss(self, examples: Sequence[Any], seed: int) -> Tensor:
        """Sum of the loss over what is learned from these examples."""


class Learner:
    """`lora` is None where all weights learn.

    Raises: UserError if a target names no layer.
    """

    def __init__(self, base: Base, config: TrainConfig) -> None:
        self._base, self._config, self._model = base, config, base.model
        self.lora: Lora | None = None
        _switch_dropout_off(self._model)
        if config.method == "full":
            self._model.requires_grad_(True)
            named = list(self._model.named_parameters())
        else:
            self.lora = add_lora(self._model, config)
            named = list(self.lora.parameters())
        # Before a gradient is asked for: these look at the model in evaluation.
        self._model.eval()
        self.is_packing = config.packs and keeps_apart(self._model, base.n_context)
        self._moment = self.lora.moment if self.lora is not None else Moment()
        self._objective = Objective(self._model, self._moment)
        self.weights = Weights(named)
        if config.checkpoints_gradients:
            self._model.gradient_checkpointing_enable({"use_reentrant": False})
        pad = base.tokenizer.pad_token_id
        self._pad = pad if pad is not None else 0

    @property
    def targets(self) -> tuple[str, ...]:
        """The layers with an adapter, as adapter_config.json names them; none where all weights learn."""
        return self.lora.targets if self.lora is not None else ()

    def trains(self, is_training: bool) -> None:
        """Whether dropout and noise are on."""
        if self._model.training != is_training:
            self._model.train(is_training)

    def loss(self, examples: Sequence[Tokens], seed: int) -> Tensor:
        """Sum of the loss over the trained tokens; `seed` decides dropout and noise."""
        device = self._base.device
        rows = in_one_row(examples, device) if self.is_packing else padded(examples, device, self._pad)
        torch.manual_seed(seed)  # NEFTune
        self._moment.seed, self._moment.part = seed, 0
        with self._autocast():
            return self._objective.loss(rows, noise=self._config.neftune if self._model.training else 0.0)

    def _autocast(self) -> AbstractContextManager[object]:
        """Full training holds float32 and computes in the base's type; LoRA's base is of that type already."""
        if self.lora is not None or self._base.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._base.device.type, dtype=self._base.dtype)


def _switch_dropout_off(model: PreTrainedModel) -> None:
    """What a model was made with; examples side by side would miss its share in attention, padded ones would not."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in vars(module).items():
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
