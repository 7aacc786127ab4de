"""Replies that `transformers.generate` makes: beam search, and architectures whose cache cannot be batched.

`generate` runs in a thread of its own and gives its turn away after every token, so that others go on meanwhile and
Stop works at once. Sampling stays ours: the logits are handed to the request's own sampler, and `generate`, decoding
greedily, sees only the token that it chose.
"""

import threading
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from llm_app.engine.batch import INVALID_NUMBERS
from llm_app.engine.request import Request
from llm_app.engine.sampling import Choice, choose
from llm_app.engine.turn import Turn
from llm_app.errors import InvalidNumbers


def start(
    model: PreTrainedModel,
    request: Request,
    turn: Turn,
    use_adapter: Callable[[str | None], None],
    ended: Callable[[Request, Exception | None], None],
) -> None:
    """Decode the request in a thread of its own; `ended` is called at the end, with the error if there was one."""

    def run() -> None:
        error: Exception | None = None
        try:
            _generate(model, request, turn, lambda: use_adapter(request.adapter))
        except Exception as caught:
            error = caught
        ended(request, error)

    threading.Thread(target=run, name="proofbench-generate", daemon=True).start()


@torch.inference_mode()
def _generate(model: PreTrainedModel, request: Request, turn: Turn, use_adapter: Callable[[], None]) -> None:
    sampling = request.sampling
    ids = torch.tensor([request.prompt_ids], device=model.device)
    pad = model.generation_config.pad_token_id
    eos = None if sampling.ignore_eos else sorted(request.vocabulary.eos_ids) or None
    hand_over = _HandOver(request, turn, use_adapter)
    with turn.held(request.rank):
        use_adapter()
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=request.max_new_tokens,
            do_sample=False,
            num_beams=sampling.n_beams,
            eos_token_id=eos,
            pad_token_id=pad if pad is not None else (eos or [0])[0],
            logits_processor=LogitsProcessorList([hand_over]),
            stopping_criteria=StoppingCriteriaList([_Stopped(request)]),
        )
    if sampling.n_beams > 1 and not request.is_over:
        for token in output[0, len(request.prompt_ids) :].tolist():
            if not request.is_over:
                request.take(Choice(token))
    if not request.is_over:
        request.finish("time" if request.is_late else "length")


class _HandOver(LogitsProcessor):
    """Between two forward passes: choose the token, let others have their turn."""

    def __init__(self, request: Request, turn: Turn, use_adapter: Callable[[], None]) -> None:
        self._request, self._turn, self._use_adapter = request, turn, use_adapter

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if not bool(torch.isfinite(scores.amax())):
            raise InvalidNumbers(INVALID_NUMBERS)
        if self._request.sampling.n_beams == 1:
            scores = self._choose(scores)
        elif self._request.sampler.changes_logits:
            scores = self._penalise_beams(input_ids, scores)
        self._turn.release()
        self._turn.acquire(self._request.rank)
        self._use_adapter()
        return scores

    def _choose(self, scores: Tensor) -> Tensor:
        choice = choose(scores.float(), [self._request.sampler])[0]
        if not self._request.is_over:
            self._request.take(choice)
        only = torch.full_like(scores, -torch.inf)
        only[:, choice.token_id] = 0.0
        return only

    def _penalise_beams(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        for row in range(len(scores)):
            self._request.sampler.after(input_ids[row].tolist()).penalise(scores[row])
        return scores


class _Stopped(StoppingCriteria):
    """The reply is over or late, or its reader left."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:
        is_over = self._request.is_over or self._request.is_late
        return torch.full((len(input_ids),), is_over, device=input_ids.device, dtype=torch.bool)
