"""An instance of lm-evaluation-harness as requests to a model."""

from dataclasses import replace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.utils import normalize_gen_kwargs

from eval.types import Generation, Request

MAX_NEW_TOKENS = 256  # where a task does not say


def requests_of(instance: Instance, seed: int) -> list[Request]:
    """What to ask for one instance; a repeated one several times, with a seed of its own each."""
    n = instance.repeats or 1
    if instance.request_type == "loglikelihood":
        context, continuation = instance.args
        return [Request("loglikelihood", context, continuation)] * n
    if instance.request_type == "loglikelihood_rolling":
        return [Request("rolling", instance.args[0])] * n
    context, options = instance.args[:2]
    kwargs: dict[str, Any] = dict(normalize_gen_kwargs(options, MAX_NEW_TOKENS))
    samples = bool(kwargs.get("do_sample"))
    generation = Generation(
        stop=tuple(text for text in kwargs["until"] if text),
        max_new_tokens=kwargs["max_gen_toks"],
        temperature=float(kwargs.get("temperature") or 0.0) if samples else 0.0,
        top_p=float(kwargs.get("top_p") or 1.0),
        top_k=int(kwargs.get("top_k") or 50) if samples else 0,
    )
    first = seed + n * (instance.doc_id or 0)
    return [Request("generate", context, generation=replace(generation, seed=first + i)) for i in range(n)]
