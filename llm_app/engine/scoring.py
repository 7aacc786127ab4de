"""Log-likelihoods of given text."""

import math
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from llm_app.engine.failures import is_out_of_memory
from llm_app.engine.forward import forward_all
from llm_app.engine.loading import LoadedModel
from llm_app.engine.packing import Batch, Request, plan
from llm_app.engine.room import TOKENS, Room
from llm_app.engine.scorer import Score, Scorer, TooLargeAlone
from llm_app.engine.slots import SlotCache
from llm_app.engine.turn import BATCH, Turn
from llm_app.errors import ContextLengthExceeded, UserError
from llm_app.messages import TokenLogprob

CHUNK_TOKENS = 256  # positions whose logits are held at once


def loglikelihoods(
    loaded: LoadedModel,
    turn: Turn,
    requests: Sequence[Request],
    *,
    adapter: str | None = None,
    budget_tokens: int = TOKENS,
    wanted: Collection[int] | None = None,
    room: Room | None = None,
) -> Iterator[Score]:
    """Log-probability of each continuation after its context, in nats, in the order they finish.

    `wanted`: only batches with one of these requests are run. The batches are those of all requests, so that the part
    that is left of an interrupted run gets the numbers that the whole would have got. `room`: what memory had to be
    halved to before, and what it is halved to now; without one, every call begins with the whole.
    Raises: ValueError for an empty context or continuation; TooLargeAlone, after which others can still be asked for.
    """
    if not loaded.is_batchable:
        yield from _one_by_one(loaded, turn, requests, adapter, wanted)
        return
    scorer = Scorer(loaded, turn, adapter, room or Room(tokens=budget_tokens))
    for batch in batches_of(loaded, requests, budget_tokens):
        yield from scorer.run(batch, wanted)


def batches_of(loaded: LoadedModel, requests: Sequence[Request], budget_tokens: int = TOKENS) -> list[Batch]:
    """The batches in which `loglikelihoods` answers these requests."""
    return plan(requests, n_context=loaded.n_context, budget_tokens=budget_tokens)


def rolling(
    loaded: LoadedModel,
    turn: Turn,
    texts: Sequence[Sequence[int]],
    *,
    prefix_token: int,
    adapter: str | None = None,
    budget_tokens: int = TOKENS,
    wanted: Collection[int] | None = None,
    room: Room | None = None,
) -> Iterator[tuple[int, float]]:
    """Log-probability of each whole text, in nats: (index, sum), as soon as all its windows are done.

    Each token is predicted once, from as many tokens before it as its window holds; the first from `prefix_token`.
    Source: the `loglikelihood_rolling` request of lm-evaluation-harness.
    """
    owners: list[int] = []
    requests: list[Request] = []
    for index, ids in enumerate(texts):
        for window in windows(ids, prefix_token, loaded.n_context):
            owners.append(index)
            requests.append(window)
    n_left = [0] * len(texts)
    for owner in owners:
        n_left[owner] += 1
    parts: dict[int, list[tuple[int, float]]] = {}
    asked = None if wanted is None else {number for number, owner in enumerate(owners) if owner in wanted}
    yield from ((index, 0.0) for index, n in enumerate(n_left) if n == 0 and (wanted is None or index in wanted))
    scores = loglikelihoods(
        loaded, turn, requests, adapter=adapter, budget_tokens=budget_tokens, wanted=asked, room=room
    )
    try:
        for number, value, _ in scores:
            owner = owners[number]
            parts.setdefault(owner, []).append((number, value))
            if len(parts[owner]) == n_left[owner]:
                # Added up in the order of the text, whatever the order of the batches was.
                yield owner, sum(value for _, value in sorted(parts.pop(owner)))
    except TooLargeAlone as error:
        raise TooLargeAlone(owners[number] for number in error.indices) from error


def windows(ids: Sequence[int], prefix_token: int, n_context: int) -> Iterator[Request]:
    """(context, continuation) pairs that predict every token once; the last one looks back over a full window."""
    if not ids:
        return
    first = list(ids[:n_context])
    yield [prefix_token], first
    done = len(first)
    while done < len(ids):
        end = min(done + n_context, len(ids))
        begin = end - n_context - 1
        yield list(ids[begin:done]), list(ids[done:end])
        done = end


def _one_by_one(
    loaded: LoadedModel, turn: Turn, requests: Sequence[Request], adapter: str | None, wanted: Collection[int] | None
) -> Iterator[Score]:
    """For architectures whose cache cannot be batched: each request by itself, as transformers runs it."""
    for index, (context, continuation) in enumerate(requests):
        if wanted is not None and index not in wanted:
            continue
        ids = [*context, *continuation][-(loaded.n_context + 1) :]
        try:
            with turn.held(BATCH), torch.inference_mode():
                loaded.adapters.use(adapter)
                logits = loaded.model(torch.tensor([ids[:-1]], device=loaded.device)).logits
                value, is_greedy = _read_off(logits[0, -len(continuation) :].float(), ids[-len(continuation) :])
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise TooLargeAlone([index]) from None
            raise
        yield index, value, is_greedy


def _read_off(logits: Tensor, targets: Sequence[int]) -> tuple[float, bool]:
    """(sum of the log-probabilities of the targets, whether each is the most likely) of (n, vocabulary)."""
    chosen = logits.gather(-1, torch.tensor(targets, device=logits.device)[:, None])[:, 0]
    return sum((chosen - logits.logsumexp(-1)).tolist()), logits.argmax(-1).tolist() == list(targets)


def prompt_logprobs(
    loaded: LoadedModel, turn: Turn, prompt_ids: Sequence[int], n_top: int, adapter: str | None
) -> list[TokenLogprob]:
    """Natural-log probability of every token given those before it, with the `n_top` most likely ones in its place.

    The first token has nothing before it: NaN, and no alternatives.
    Raises: ContextLengthExceeded.
    """
    if not prompt_ids:
        raise UserError("The prompt is empty. Write something first.", param="prompt")
    if len(prompt_ids) > loaded.n_context:
        raise ContextLengthExceeded(
            f"The prompt has {len(prompt_ids):,} tokens, the context of this model holds {loaded.n_context:,}."
            " Shorten the prompt.",
            param="prompt",
        )
    data = loaded.token_bytes
    scored = [TokenLogprob(prompt_ids[0], data(prompt_ids[0]), math.nan)]
    for logprobs, targets in distributions(loaded, turn, prompt_ids, adapter=adapter):
        chosen = logprobs.gather(-1, torch.tensor(targets, device=logprobs.device)[:, None])[:, 0].tolist()
        values, ids = (t.tolist() for t in logprobs.topk(n_top))
        for target, logprob, row_ids, row_values in zip(targets, chosen, ids, values, strict=True):
            top = tuple(TokenLogprob(i, data(i), v) for i, v in zip(row_ids, row_values, strict=True))
            scored.append(TokenLogprob(target, data(target), logprob, top))
    return scored


def distributions(
    loaded: LoadedModel, turn: Turn, ids: Sequence[int], *, adapter: str | None = None
) -> Iterator[tuple[Tensor, list[int]]]:
    """Log-probabilities of all tokens after each token of a text, with the token that follows.

    Gives (positions, vocabulary) in float32, some positions at a time; the last token has nothing after it.
    """
    cache = SlotCache()
    for start in range(0, len(ids) - 1, CHUNK_TOKENS):
        new = list(ids[start : start + CHUNK_TOKENS])
        with turn.held(BATCH):
            loaded.adapters.use(adapter)
            if loaded.is_batchable:
                logits = forward_all(loaded.model, cache, new, start)
            else:
                with torch.inference_mode():
                    whole = torch.tensor([ids[: start + len(new)]], device=loaded.device)
                    logits = loaded.model(whole).logits[0, start:].float()
        targets = list(ids[start + 1 : start + 1 + len(new)])
        yield torch.log_softmax(logits[: len(targets)], -1), targets
