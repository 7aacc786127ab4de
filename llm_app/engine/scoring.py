"""Log-likelihoods of given text."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from llm_app.engine.forward import SlotCache, forward_all
from llm_app.engine.loading import LoadedModel
from llm_app.engine.turn import BATCH, Turn
from llm_app.errors import ContextLengthExceeded, UserError
from llm_app.messages import TokenLogprob

CHUNK_TOKENS = 256  # positions whose logits are held at once


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
    for logprobs, targets in _chunks(loaded, turn, prompt_ids, adapter):
        chosen = logprobs.gather(-1, torch.tensor(targets, device=logprobs.device)[:, None])[:, 0].tolist()
        values, ids = (t.tolist() for t in logprobs.topk(n_top))
        for target, logprob, row_ids, row_values in zip(targets, chosen, ids, values, strict=True):
            top = tuple(TokenLogprob(i, data(i), v) for i, v in zip(row_ids, row_values, strict=True))
            scored.append(TokenLogprob(target, data(target), logprob, top))
    return scored


def _chunks(
    loaded: LoadedModel, turn: Turn, ids: Sequence[int], adapter: str | None
) -> Iterator[tuple[Tensor, list[int]]]:
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
