"""Examples side by side: in one row without padding, or padded to a rectangle where a model cannot do that.

In one row each example has positions of its own and attention never crosses from one to another, so all that is
computed belongs to some example.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from llm_app.engine.failures import is_out_of_memory
from llm_app.engine.forward import ATTENTION
from llm_app.engine.probe import batches_correctly, tolerance
from llm_app.training.apart import ATTENTION_APART, Apart


class Tokens(Protocol):
    """An example as tokens; `trained[i]`: token i is to be predicted."""

    @property
    def ids(self) -> Sequence[int]:
        """Token ids."""

    @property
    def trained(self) -> Sequence[bool]:
        """As many as there are ids."""


@dataclass(frozen=True)
class Rows:
    """One pass through the model. `read`: places, counted through all rows, whose output predicts `targets`."""

    ids: Tensor  # (rows, n)
    positions: Tensor  # (rows, n)
    read: Tensor  # (n_trained,)
    targets: Tensor  # (n_trained,)
    lengths: tuple[int, ...]  # of the examples
    mask: Tensor | None  # (rows, n) where padded: 1 for tokens

    @property
    def arguments(self) -> dict[str, Any]:
        """What a transformers model is called with, besides the ids."""
        if self.mask is not None:
            return {"attention_mask": self.mask, "position_ids": self.positions, "use_cache": False}
        # A mask of four dimensions is taken as it is; this one is never read.
        unread = torch.empty(1, 1, 1, 1, device=self.ids.device)
        return {
            "attention_mask": unread, "position_ids": self.positions, "use_cache": False, "layout": Apart(self.lengths),
        }  # fmt: skip


def n_trained(example: Tokens) -> int:
    """How many tokens of it the loss is taken on; the first has nothing before it to be predicted from."""
    return sum(example.trained[1:])


def in_one_row(examples: Sequence[Tokens], device: torch.device) -> Rows:
    """Without padding: (1, sum of lengths)."""
    ids = [token for example in examples for token in example.ids]
    positions = [place for example in examples for place in range(len(example.ids))]
    starts = [0]
    for example in examples:
        starts.append(starts[-1] + len(example.ids))
    lengths = tuple(len(example.ids) for example in examples)
    read, targets = _read(examples, starts)
    return Rows(
        torch.tensor([ids], device=device), torch.tensor([positions], device=device),
        torch.tensor(read, dtype=torch.long, device=device), torch.tensor(targets, dtype=torch.long, device=device),
        lengths, None,
    )


def padded(examples: Sequence[Tokens], device: torch.device, pad: int) -> Rows:
    """A row each, padded on the right: (examples, longest)."""
    lengths = tuple(len(example.ids) for example in examples)
    longest = max(lengths)
    ids = torch.full((len(examples), longest), pad, dtype=torch.long)
    mask = torch.zeros(len(examples), longest, dtype=torch.long)
    for row, example in enumerate(examples):
        ids[row, : lengths[row]] = torch.tensor(list(example.ids))
        mask[row, : lengths[row]] = 1
    read, targets = _read(examples, [row * longest for row in range(len(examples))])
    return Rows(
        ids.to(device), torch.arange(longest, device=device).expand(len(examples), -1),
        torch.tensor(read, dtype=torch.long, device=device), torch.tensor(targets, dtype=torch.long, device=device),
        lengths, mask.to(device),
    )


def _read(examples: Sequence[Tokens], starts: Sequence[int]) -> tuple[list[int], list[int]]:
    read, targets = [], []
    for start, example in zip(starts, examples, strict=False):
        for place in range(1, len(example.ids)):
            if example.trained[place]:
                read.append(start + place - 1)
                targets.append(example.ids[place])
    return read, targets


@dataclass(frozen=True)
class _Probe:
    ids: list[int]

    @property
    def trained(self) -> list[bool]:
        return [True] * len(self.ids)


def keeps_apart(model: PreTrainedModel, n_context: int) -> bool:
    """Whether examples in one row get what each gets alone, and give gradients; from then on the model attends so.

    Models that carry a state from token to token, or whose attention is not to be replaced, cannot.
    Raises: what torch raises where memory runs out, which says nothing about the model.
    """
    if model.config._attn_implementation != ATTENTION or not batches_correctly(model, n_context):
        return False
    model.set_attn_implementation(ATTENTION_APART)
    try:
        is_right = _computes_apart(model, n_context)
    except (TypeError, ValueError, IndexError, RuntimeError, AttributeError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        is_right = False
    if not is_right:
        model.set_attn_implementation(ATTENTION)
    return is_right


def _computes_apart(model: PreTrainedModel, n_context: int) -> bool:
    """One pass over two examples, forward and back, against each alone."""
    config = model.config.get_text_config()
    # Longer than a short sliding window.
    n = max(6, min((getattr(config, "sliding_window", None) or 0) + 3, 64, n_context))
    probes = [_Probe([(jump * i + 3) % config.vocab_size for i in range(size)]) for jump, size in ((7, n), (5, n - 2))]
    with torch.no_grad():
        alone = [model(torch.tensor([probe.ids], device=model.device), use_cache=False).logits[0] for probe in probes]
    rows = in_one_row(probes, model.device)
    with torch.enable_grad():
        got = model(rows.ids, **rows.arguments).logits[0].float()
        # Down to the first that learns the gradient passes through all that does.
        first = next(parameter for parameter in model.parameters() if parameter.requires_grad)
        (gradient,) = torch.autograd.grad(got.square().mean(), first)
    want = torch.cat(alone).float()
    limit = tolerance(model) * want.abs().max().clamp(min=1.0)
    return bool((got - want).abs().max() <= limit) and bool(gradient.isfinite().all())
