"""The loss of a pass: cross-entropy in nats, summed over the trained tokens.

The output layer reads only the places that predict a trained token, and a few of them at a time: the logits of a whole
batch would be the largest tensor of all.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from llm_app.engine.branches import splits
from llm_app.training.lora import Moment
from llm_app.training.rows import Rows

HEAD_ROWS = 128  # places whose logits are held at once


class Objective:
    """A model and its loss. Call it under no_grad for the value alone. `moment`: that of the model's LoRA layers."""

    def __init__(self, model: PreTrainedModel, moment: Moment) -> None:
        self._model, self._moment = model, moment
        self._is_split = splits(model)
        self._head: nn.Module = model.get_output_embeddings()

    def loss(self, rows: Rows, *, noise: float = 0.0) -> Tensor:
        """Sum over the trained tokens of `rows`, a float32 scalar. `noise`: NEFTune's alpha.

        Models that do something to the logits behind the output layer get them all at once.
        """
        inputs = {"input_ids": rows.ids} if noise == 0 else {"inputs_embeds": self._noisy(rows, noise)}
        if not self._is_split:
            logits = self._model(**inputs, **rows.arguments).logits.flatten(0, 1)[rows.read]
            return cross_entropy(logits, rows.targets)
        states = self._model.get_decoder()(**inputs, **rows.arguments).last_hidden_state.flatten(0, 1)[rows.read]
        if not torch.is_grad_enabled():
            total = torch.zeros((), device=states.device)
            for part, targets in zip(states.split(HEAD_ROWS), rows.targets.split(HEAD_ROWS), strict=True):
                total += cross_entropy(self._head(part), targets)
            return total
        trained = [parameter for parameter in self._head.parameters() if parameter.requires_grad]
        loss: Tensor = _HeadLoss.apply(states, rows.targets, self._head, self._moment, *trained)
        return loss

    def _noisy(self, rows: Rows, alpha: float) -> Tensor:
        """Embeddings with uniform noise of at most alpha / sqrt(length * size). Source: Jain et al. 2023 (NEFTune)."""
        embeddings = self._model.get_input_embeddings()(rows.ids)
        lengths = torch.tensor(rows.lengths, device=rows.ids.device)
        # Of the example that each token belongs to.
        lengths = lengths.repeat_interleave(lengths)[None] if rows.mask is None else lengths[:, None]
        largest = alpha / (lengths * embeddings.shape[-1]).sqrt()
        return embeddings + torch.empty_like(embeddings).uniform_(-1, 1) * largest[..., None].to(embeddings.dtype)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross-entropies of (n, vocabulary) logits, in float32."""
    loss: Tensor = _CrossEntropy.apply(logits, targets)
    return loss


class _CrossEntropy(torch.autograd.Function):
    """The gradient is made on the way, in place."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        values = logits.to(torch.float32, copy=True)
        places = torch.arange(len(targets), device=targets.device)
        wanted = values[places, targets]
        largest = values.amax(-1, keepdim=True)
        values.sub_(largest).exp_()
        total = values.sum(-1, keepdim=True)
        loss = (total.log() + largest)[:, 0] - wanted
        if ctx.needs_input_grad[0]:
            values.div_(total)
            values[places, targets] -= 1
            ctx.save_for_backward(values.to(logits.dtype))
        return loss.sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.saved_tensors[0] * gradients[0], None


class _HeadLoss(torch.autograd.Function):
    """Output layer and loss, a few places at a time; gradients are taken going forward, while the logits are there."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, targets: Tensor, head: Callable[[Tensor], Tensor], moment: Moment, *trained: Tensor
    ) -> Tensor:
        total = torch.zeros((), device=states.device)
        to_states = torch.empty_like(states)
        to_trained = [torch.zeros_like(parameter) for parameter in trained]
        for number, start in enumerate(range(0, len(states), HEAD_ROWS)):
            moment.part = number
            part = states[start : start + HEAD_ROWS].detach().requires_grad_()
            with torch.enable_grad():
                loss = cross_entropy(head(part), targets[start : start + HEAD_ROWS])
            found = torch.autograd.grad(loss, [part, *trained])
            to_states[start : start + HEAD_ROWS] = found[0]
            for kept, new in zip(to_trained, found[1:], strict=True):
                kept.add_(new)
            total += loss.detach()
        moment.part = 0  # of the other layers, which may be computed again going back
        ctx.save_for_backward(to_states, *to_trained)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_states, *to_trained = ctx.saved_tensors
        # A scalar tensor of float32: it does not widen what it scales, nor is it rounded to it.
        return to_states * gradients[0], None, None, None, *(each * gradients[0] for each in to_trained)
