"""Perplexity of one text of any length, under a window that slides over it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eval.metrics.perplexity.score import Perplexity, perplexity
from llm_app.engine.host import Host
from llm_app.engine.scoring import loglikelihoods
from llm_app.errors import UserError
from llm_app.jobs.answers import EngineModel


@dataclass(frozen=True)
class TextScore:
    """The four figures of a text and how it was cut; `loglikelihood` in nats, of the whole."""

    loglikelihood: float
    figures: Perplexity
    window: int
    stride: int
    n_windows: int


@dataclass(frozen=True)
class WindowScored:
    """One more window: `done` of `total`."""

    done: int
    total: int


def score_text(
    host: Host, text: str, *, window: int | None = None, stride: int | None = None, adapter: str | None = None
) -> Iterator[WindowScored | TextScore]:
    """Score a text with the loaded model; the last item is the TextScore.

    `window`: tokens of one pass, context and scored ones together (default: the model's context); `stride`: tokens
    that the window moves on (default: half of it). Every token is scored once.
    Raises: UserError for an empty text, or a window or stride that cannot be.
    """
    loaded, model = host.loaded, EngineModel(host, adapter=adapter)
    window = window if window is not None else loaded.n_context
    stride = stride if stride is not None else max(1, window // 2)
    if not 2 <= window <= loaded.n_context:
        raise UserError(f"The window must hold 2 to {loaded.n_context:,} tokens, not {window:,}.", param="window")
    if not 1 <= stride <= window:
        raise UserError(f"The stride must be 1 to {window:,} tokens, not {stride:,}.", param="stride")
    (ids,) = model.text_ids([text])
    if not ids:
        raise UserError("The text is empty.", param="text")
    # A text that brings its own first token is read from it, as it is where a request is scored.
    sequence = ids if ids[0] == model.prefix_token and len(ids) > 1 else [model.prefix_token, *ids]
    requests = list(sliding_windows(sequence, window, stride))
    values = [0.0] * len(requests)
    for n_done, (index, value, _) in enumerate(loglikelihoods(loaded, host.turn, requests, adapter=adapter), 1):
        values[index] = value
        yield WindowScored(n_done, len(requests))
    total = sum(values)
    yield TextScore(total, perplexity([total], [len(sequence) - 1], [text]), window, stride, len(requests))


def sliding_windows(ids: Sequence[int], window: int, stride: int) -> Iterator[tuple[list[int], list[int]]]:
    """(context, scored) pairs: windows begin every `stride` tokens, and each token but the first is scored once.

    A window that begins where the last one ended looks back one token more: its first token needs a context.
    Source: "Perplexity of fixed-length models" in the documentation of transformers.
    """
    done = 1
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        if done < end:
            yield list(ids[min(begin, done - 1) : done]), list(ids[done:end])
            done = end
