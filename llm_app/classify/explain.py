"""Which words decided: what each piece of a text does to the log-odds of a label."""

import math
import re
from collections.abc import Generator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from llm_app.classify.config import GRADIENT
from llm_app.classify.encoder import EncoderNetwork
from llm_app.classify.network import NetworkClassifier
from llm_app.classify.scripts import UNSPACED
from llm_app.classify.types import Classifier, Item, Kind, Outcome, Prediction, Unclassified
from llm_app.engine.turn import BATCH
from llm_app.errors import UserError

MAX_PIECES = 200  # of a text; longer ones are taken apart into runs of words
LEAST = 1e-12  # probabilities are kept so far from 0 and 1
# A word with its apostrophes and hyphens; of scripts without spaces, each character.
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+(?:['\u2019-][^\W{UNSPACED}]+)*")


@dataclass(frozen=True)
class Span:
    """text[start:end] speaks for the label with this weight, against it where it is negative.

    The weight is in nats of the label's log-odds; of a regression, in its own unit. `is_pair`: of the second text.
    """

    start: int
    end: int
    weight: float
    is_pair: bool = False


@dataclass(frozen=True)
class Explanation:
    """`label`: which of the classifier's labels is explained. The spans stand in the order of the text."""

    prediction: Prediction
    label: int
    spans: tuple[Span, ...]


def explained(classifier: Classifier, item: Item, how: str) -> Explanation:
    """Which words decided. `how`: one of EXPLANATIONS. Raises: as the two below."""
    return (gradient_times_input if how == GRADIENT else leave_one_out)(classifier, item)


def explaining(classifier: Classifier, item: Item, how: str) -> Generator[tuple[int, int] | Explanation]:
    """(texts that are done, of how many), and at last what `explained` gives; closing stops between two passes."""
    if how == GRADIENT:
        yield gradient_times_input(classifier, item)
    else:
        yield from _leaving_out(classifier, item, None)


def leave_one_out(classifier: Classifier, item: Item, *, label: int | None = None) -> Explanation:
    """What the log-odds lose when a word, or a run of words of a long text, is left out; for every classifier.

    `label`: the likeliest, unless another one is asked for. Raises: UserError if the item cannot be classified.
    """
    *_, found = _leaving_out(classifier, item, label)
    assert isinstance(found, Explanation)
    return found


def gradient_times_input(classifier: Classifier, item: Item, *, label: int | None = None) -> Explanation:
    """The gradient of the log-odds by each word's embedding times that embedding: one pass, for encoders only.

    Source: Shrikumar et al. 2016, arXiv:1605.01713. Raises: UserError for any other classifier.
    """
    if not (isinstance(classifier, NetworkClassifier) and isinstance(classifier.network, EncoderNetwork)):
        raise UserError(
            "Gradients are there for encoders only. Choose to leave out each word.", param="method",
            message_zh="只有编码器分类器才有梯度。请选择“逐词遮去”。",
        )
    network = classifier.network
    (outcome,) = classifier.predict([item])
    if isinstance(outcome, Unclassified):
        raise UserError(outcome.reason, param="text")
    number = _chosen(outcome, label)
    with classifier.turn.held(BATCH):
        weights = _token_weights(network, item, classifier.kind, number, classifier.file.temperature)
    places = zip(network.places(item), weights, strict=True)
    tokens = [(place, weight) for place, weight in places if place is not None]
    spans = []
    for is_pair, text in ((False, item.text), (True, item.pair or "")):
        for start, end in pieces(text):
            within = [weight for place, weight in tokens if place.is_pair == is_pair and start <= place.start < end]
            spans.append(Span(start, end, math.fsum(within), is_pair))
    return Explanation(outcome, number, tuple(spans))


def n_texts(item: Item) -> int:
    """How many texts are classified to leave out each word of this one in turn."""
    return 1 + len(pieces(item.text)) + len(pieces(item.pair or ""))


def pieces(text: str) -> list[tuple[int, int]]:
    """Where the words of a text stand; of a long one, runs of neighbouring words, at most MAX_PIECES of them."""
    words = [match.span() for match in _WORD.finditer(text)]
    n_together = math.ceil(len(words) / MAX_PIECES) or 1
    runs = [words[first : first + n_together] for first in range(0, len(words), n_together)]
    return [(run[0][0], run[-1][1]) for run in runs]


def _leaving_out(
    classifier: Classifier, item: Item, label: int | None
) -> Generator[tuple[int, int] | Explanation]:
    spans = [Span(start, end, 0.0) for start, end in pieces(item.text)]
    spans += [Span(start, end, 0.0, is_pair=True) for start, end in pieces(item.pair or "")]
    outcomes: list[Outcome] = []
    for outcome in classifier.predict([item, *(_without(item, span) for span in spans)]):
        outcomes.append(outcome)
        yield len(outcomes), 1 + len(spans)
    outcomes.sort(key=lambda outcome: outcome.index)
    whole = outcomes[0]
    if isinstance(whole, Unclassified):
        raise UserError(whole.reason, param="text")
    number = _chosen(whole, label)
    before = _log_odds(classifier.kind, whole.scores[number])
    weighed = [
        replace(span, weight=before - _log_odds(classifier.kind, outcome.scores[number]))
        for span, outcome in zip(spans, outcomes[1:], strict=True) if isinstance(outcome, Prediction)
    ]
    yield Explanation(whole, number, tuple(weighed))


def _without(item: Item, span: Span) -> Item:
    text = (item.pair or "") if span.is_pair else item.text
    # The space behind a word goes with it.
    end = span.end + 1 if text[span.end : span.end + 1] == " " else span.end
    shorter = text[: span.start] + text[end:]
    return replace(item, pair=shorter) if span.is_pair else replace(item, text=shorter)


def _chosen(prediction: Prediction, label: int | None) -> int:
    if label is None:
        return max(range(len(prediction.scores)), key=lambda number: prediction.scores[number])
    return label


def _log_odds(kind: Kind, score: float) -> float:
    if kind == "regression":
        return score
    kept = min(max(score, LEAST), 1 - LEAST)
    return math.log(kept) - math.log1p(-kept)


def _token_weights(
    network: EncoderNetwork, item: Item, kind: Kind, label: int, temperature: float
) -> list[float]:
    """Gradient times input of each token, summed over the embedding."""
    (row,) = network.rows([item])
    captured: list[Tensor] = []

    def capture(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        captured.append(output.detach().requires_grad_())
        return captured[0]

    handle = network.embeddings.register_forward_hook(capture)
    try:
        with torch.enable_grad():
            logits = network.logits([row])[0] / (1.0 if kind == "regression" else temperature)
            (gradient,) = torch.autograd.grad(_asked(kind, logits, label), captured[0])
    finally:
        handle.remove()
    weights: list[float] = (gradient * captured[0]).sum(-1)[0].tolist()
    return weights


def _asked(kind: Kind, logits: Tensor, label: int) -> Tensor:
    """The log-odds of a label, or the value itself."""
    if kind != "single":
        return logits[label]
    others = torch.cat((logits[:label], logits[label + 1 :]))
    return logits[label] - others.logsumexp(0)
