"""How likely the model finds each token of a text, how open the choice was, and what it would rather have said."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from llm_app.engine.loading import LoadedModel
from llm_app.engine.scoring import distributions
from llm_app.engine.turn import Turn
from llm_app.errors import ContextLengthExceeded, InvalidNumbers, UserError
from llm_app.messages import TokenLogprob

N_TOP = 5


@dataclass(frozen=True)
class TokenScore:
    """A token in its place, under the model's own distribution: temperature 1, nothing cut off.

    `logprob` and `entropy` are in nats, the entropy that of the whole vocabulary; `rank` 1 is the likeliest token.
    `top`: the likeliest tokens for this place, which may include the token itself.
    """

    token_id: int
    data: bytes
    logprob: float
    entropy: float
    rank: int
    top: tuple[TokenLogprob, ...]


def token_scores(
    loaded: LoadedModel,
    turn: Turn,
    context_ids: Sequence[int],
    ids: Sequence[int],
    *,
    adapter: str | None = None,
    n_top: int = N_TOP,
) -> Iterator[TokenScore]:
    """Every token of `ids` given those before it, as one pass over the text reads them; some at a time.

    Raises: UserError for an empty context or text, ContextLengthExceeded, InvalidNumbers where the model gives NaN.
    """
    _check(loaded, context_ids, ids)
    data = loaded.token_bytes
    n_skipped = len(context_ids) - 1  # the first token has nothing before it and no score
    for logprobs, targets in distributions(loaded, turn, [*context_ids, *ids], adapter=adapter):
        skipped = min(n_skipped, len(targets))
        n_skipped -= skipped
        rows, wanted = logprobs[skipped:], targets[skipped:]
        if not wanted:
            continue
        chosen = rows.gather(-1, torch.tensor(wanted, device=rows.device)[:, None])
        if bool(rows.isnan().any()):
            raise InvalidNumbers("The model gave invalid numbers (NaN) for this text. Choose another precision.")
        entropies = torch.special.entr(rows.exp()).sum(-1).tolist()
        ranks = ((rows > chosen).sum(-1) + 1).tolist()
        values, likeliest = (part.tolist() for part in rows.topk(min(n_top, rows.shape[-1])))
        for i, target in enumerate(wanted):
            top = tuple(TokenLogprob(t, data(t), v) for t, v in zip(likeliest[i], values[i], strict=True))
            yield TokenScore(target, data(target), float(chosen[i, 0]), entropies[i], ranks[i], top)


def next_tokens(
    loaded: LoadedModel, turn: Turn, ids: Sequence[int], n_top: int, *, adapter: str | None = None
) -> tuple[TokenLogprob, ...]:
    """The likeliest tokens after these. Raises: as `token_scores`."""
    # What stands in a place does not change what is likely there.
    (score,) = token_scores(loaded, turn, ids, ids[-1:], adapter=adapter, n_top=n_top)
    return score.top


def start_token(loaded: LoadedModel) -> int:
    """The token that stands before a text with nothing before it: the first of all texts, else the last of another.

    Raises: UserError if the tokenizer has neither. Source: `prefix_token_id` of lm-evaluation-harness.
    """
    tokenizer = loaded.tokenizer
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise UserError("This model's tokenizer has neither a first nor a last token; it cannot be scored.")
    return int(token)


def _check(loaded: LoadedModel, context_ids: Sequence[int], ids: Sequence[int]) -> None:
    if not context_ids or not ids:
        raise UserError("There is no text to score. Write something first.", param="text")
    n = len(context_ids) + len(ids)
    if n > loaded.n_context:
        raise ContextLengthExceeded(
            f"The text has {n:,} tokens with what stands before it, the context of this model holds"
            f" {loaded.n_context:,}. Shorten it.",
            param="text",
        )
