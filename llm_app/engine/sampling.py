"""From logits to the next token, for a whole batch at once, each request by its own rules and its own seed.

Order, as in transformers: penalties on the raw logits, then temperature, top-k, top-p, min-p.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llm_app.config import SamplingConfig


@dataclass(frozen=True)
class Choice:
    """A chosen token; log-probabilities (natural, of the unchanged model) only where they were asked for."""

    token_id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """One request's rules, what it has said so far, and its own random numbers."""

    def __init__(self, config: SamplingConfig, prompt_ids: Sequence[int], seed: int) -> None:
        self.config = config
        self.seed = seed
        self._random = random.Random(seed)  # noqa: S311 - repeatable is the point
        self._history = list(prompt_ids)
        self._n_prompt = len(self._history)
        self._counts: dict[int, int] = defaultdict(int)
        self._next_of: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for end in range(config.no_repeat_ngram, self._n_prompt + 1):
            self._remember_ngram(end)

    @property
    def changes_logits(self) -> bool:
        """Whether penalties or bans apply."""
        c = self.config
        return c.repetition_penalty != 1.0 or bool(c.presence_penalty or c.frequency_penalty or c.no_repeat_ngram)

    def accept(self, token_id: int) -> None:
        """The token was taken."""
        self._history.append(token_id)
        self._counts[token_id] += 1
        self._remember_ngram(len(self._history))

    def after(self, token_ids: Sequence[int]) -> "Sampler":
        """The same rules for another continuation of the same prompt: a beam."""
        other = Sampler(self.config, token_ids[: self._n_prompt], self.seed)
        for token_id in token_ids[self._n_prompt :]:
            other.accept(token_id)
        return other

    def uniform(self) -> float:
        """The next number of this request's own sequence, in [0, 1)."""
        return self._random.random()

    def penalise(self, logits: Tensor) -> None:
        """Apply penalties and bans in place. `logits`: (vocabulary,), float32."""
        c = self.config
        if c.repetition_penalty != 1.0:
            seen = torch.tensor(sorted(set(self._history)), device=logits.device)
            values = logits[seen]
            logits[seen] = torch.where(values > 0, values / c.repetition_penalty, values * c.repetition_penalty)
        if (c.presence_penalty or c.frequency_penalty) and self._counts:
            ids = torch.tensor(list(self._counts), device=logits.device)
            counts = torch.tensor(list(self._counts.values()), device=logits.device, dtype=logits.dtype)
            logits[ids] -= c.presence_penalty + c.frequency_penalty * counts
        banned = self._banned()
        if banned:
            logits[torch.tensor(banned, device=logits.device)] = -torch.inf

    def _remember_ngram(self, end: int) -> None:
        n = self.config.no_repeat_ngram
        if n and end >= n:
            ngram = self._history[end - n : end]
            self._next_of[tuple(ngram[:-1])].append(ngram[-1])

    def _banned(self) -> list[int]:
        n = self.config.no_repeat_ngram
        if not n or len(self._history) + 1 < n:
            return []
        return self._next_of.get(tuple(self._history[len(self._history) - n + 1 :]), [])


def choose(logits: Tensor, samplers: Sequence[Sampler]) -> list[Choice]:
    """The next token of each row. `logits`: (rows, vocabulary), float32; changed in place where penalties apply."""
    logprobs = _logprobs(logits, samplers)
    for row, sampler in enumerate(samplers):
        if sampler.changes_logits:
            sampler.penalise(logits[row])
    # numpy's search takes a sixth of the time of torch's.
    tokens = (logits.numpy() if logits.device.type == "cpu" else logits).argmax(-1).tolist()
    sampled = [row for row, sampler in enumerate(samplers) if not sampler.config.is_greedy]
    if sampled:
        chosen = _sample(
            logits[sampled] if len(sampled) < len(samplers) else logits, [samplers[row] for row in sampled]
        )
        for row, token in zip(sampled, chosen, strict=True):
            tokens[row] = token
    return [_choice(token, logprobs.get(row), samplers[row].config.n_logprobs) for row, token in enumerate(tokens)]


def _logprobs(logits: Tensor, samplers: Sequence[Sampler]) -> dict[int, Tensor]:
    rows = [row for row, sampler in enumerate(samplers) if sampler.config.n_logprobs is not None]
    return {row: torch.log_softmax(logits[row], -1) for row in rows}


def _choice(token: int, logprobs: Tensor | None, n_top: int | None) -> Choice:
    if logprobs is None or n_top is None:
        return Choice(token)
    values, ids = logprobs.topk(n_top)
    return Choice(token, float(logprobs[token]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))


def _sample(logits: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    probabilities, ids = distribution(logits, [sampler.config for sampler in samplers])
    draws = torch.tensor([[sampler.uniform()] for sampler in samplers], dtype=torch.float64, device=logits.device)
    cumulative = probabilities.double().cumsum(-1)
    # Scaled by the total, which rounding leaves a little off 1, so that the last candidate is never overshot.
    picks = torch.searchsorted(cumulative, draws * cumulative[:, -1:], right=True).clamp(max=ids.shape[1] - 1)
    return ids.gather(-1, picks)[:, 0].tolist()


def distribution(logits: Tensor, configs: Sequence[SamplingConfig]) -> tuple[Tensor, Tensor]:
    """What is drawn from: probabilities and token ids, (rows, candidates), most likely first.

    Candidates are the largest top-k of the rows, or the whole vocabulary where a row keeps all.
    Source: the warpers of transformers' `generate`, with which a test compares.
    """

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=logits.dtype, device=logits.device)[:, None]

    n_all = logits.shape[-1]
    top_k = [min(c.top_k, n_all) or n_all for c in configs]
    if max(top_k) < n_all:
        scores, ids = logits.topk(max(top_k), dim=-1)
    else:
        scores, ids = logits.sort(dim=-1, descending=True)
    scores = scores / column([c.temperature for c in configs])
    rank = torch.arange(scores.shape[-1], device=logits.device)
    scores = scores.masked_fill(rank >= column([float(k) for k in top_k]), -torch.inf)
    probabilities = scores.softmax(-1)
    if any(c.top_p < 1.0 for c in configs):
        before = probabilities.cumsum(-1) - probabilities
        # The most likely token always stays.
        drop = (before >= column([c.top_p if c.top_p < 1.0 else 2.0 for c in configs])) & (rank > 0)
        probabilities = scores.masked_fill_(drop, -torch.inf).softmax(-1)
    if any(c.min_p > 0.0 for c in configs):
        drop = probabilities < column([c.min_p for c in configs]) * probabilities[:, :1]
        probabilities = scores.masked_fill_(drop, -torch.inf).softmax(-1)
    return probabilities, ids
