"""A network made ready to learn: what of it learns, in which numbers it computes, and what decides its dropout."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from llm_app.classify.network import Network, Row
from llm_app.training.lora import Moment
from llm_app.training.optim import Weights


class Learner:
    """`trained`: the parameters that learn, by name; `head`: the layer that gives the outputs, one of them.

    `dtype`: what passes through the network, None to compute as it is held. `moment`: that of its LoRA layers.
    """

    def __init__(
        self, network: Network, trained: Iterable[tuple[str, nn.Parameter]], head: nn.Linear, *,
        dtype: torch.dtype | None = None, moment: Moment | None = None,
    ) -> None:
        self.network, self.head = network, head
        self.weights = Weights(trained)
        self._dtype, self._moment = dtype, moment or Moment()

    @property
    def has_bias(self) -> bool:
        """Whether the outputs can be moved by a constant."""
        return self.head.bias is not None

    def rescale(self, spread: float, centre: float) -> None:
        """Make the head give spread * output + centre from now on."""
        with torch.no_grad():
            self.head.weight.mul_(spread)
            if self.head.bias is not None:
                self.head.bias.mul_(spread).add_(centre)

    def trains(self, is_training: bool) -> None:
        """Whether dropout is on."""
        if self.network.module.training != is_training:
            self.network.module.train(is_training)

    def logits(self, rows: Sequence[Row], seed: int) -> Tensor:
        """(rows, outputs) in float32; `seed` decides dropout."""
        torch.manual_seed(seed)
        self._moment.seed, self._moment.part = seed, 0
        with self._autocast():
            return self.network.logits(rows).float()

    def _autocast(self) -> AbstractContextManager[object]:
        if self._dtype is None or self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.weights.flat.device.type, dtype=self._dtype)
