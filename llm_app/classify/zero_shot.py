"""Classification by a chat model that was never trained for it: how likely each label's word is after the text.

The labels of a text share its computation (engine/packing.py). Log-likelihoods are those of lm-evaluation-harness.
Source of the calibration: Zhao et al. 2021, "Calibrate Before Use", arXiv:2102.09690.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.network import INVALID, NO_MEMORY, too_long
from llm_app.classify.prompt import Example, Prompt
from llm_app.classify.types import Item, Kind, Outcome, Prediction, Unclassified
from llm_app.data.types import RowRefused
from llm_app.engine.encoding import Encoding
from llm_app.engine.host import Host
from llm_app.engine.packing import Request
from llm_app.engine.room import Room
from llm_app.engine.scorer import TooLargeAlone
from llm_app.engine.scoring import loglikelihoods
from llm_app.errors import UserError

CHUNK_ITEMS = 256  # planned together; so much is known before the first answer comes
CONTENT_FREE = ("N/A", "", "[MASK]")  # the paper's
ANSWERING = ""  # stands for the adapter that answers whoever names none


@dataclass(frozen=True)
class Likelihoods:
    """What the model gives each label of one item: sums of log-probabilities, in nats, over so many tokens."""

    index: int
    sums: tuple[float, ...]
    n_tokens: tuple[int, ...]
    n_cut: int = 0


@dataclass(frozen=True)
class _Asked:
    """An item as the model meets it: context and continuation of each label."""

    index: int
    requests: tuple[Request, ...]
    n_cut: int


class ZeroShot:
    """Asks the model that the host has loaded when this is made.

    `adapter`: of that model, None for the base alone; by default the one that answers then.
    `is_strict`: a text that is too long is refused instead of cut. Raises: UserError for labels that make no sense.
    """

    def __init__(
        self, host: Host, labels: Sequence[str], config: ZeroShotConfig, examples: Sequence[Example] = (), *,
        is_strict: bool = False, adapter: str | None = ANSWERING,
    ) -> None:
        self.prompt = Prompt(config, labels, examples)
        self._host, self._loaded = host, host.loaded
        self._adapter = host.adapter if adapter == ANSWERING else adapter
        self._config, self._examples, self._is_strict = config, examples, is_strict
        self._encoding = Encoding(self._loaded.tokenizer)
        self._room = Room()
        spaced = [f" {word}" for word in self.prompt.words]
        longest = max(map(len, self._encoding.text_ids([*self.prompt.words, *spaced])))
        # Before the longest label; one more, since its last token is only predicted, never read.
        self._n_context = self._loaded.n_context + 1 - longest
        self._priors: dict[bool, list[float]] = {}  # of items that are pairs, and of others

    @property
    def kind(self) -> Kind:
        """One label an item."""
        return "single"

    @property
    def labels(self) -> tuple[str, ...]:
        """As they were given."""
        return self.prompt.labels

    def identity(self) -> Mapping[str, Any]:
        """Model and adapter by digest, labels, settings, examples."""
        shown = json.dumps([[item.text, item.pair, label] for item, label in self._examples])
        adapter = self._loaded.adapters.digest(self._adapter)
        return {
            "method": "zero-shot", "kind": self.kind, "labels": list(self.labels),
            "weights": self._loaded.identity.with_adapter(adapter).digest(), **asdict(self._config),
            "words": list(self.prompt.words), "examples": hashlib.sha256(shown.encode()).hexdigest(),
            "strict": self._is_strict,
        }  # fmt: skip

    def predict(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """One outcome an item; closing stops between two passes.

        Raises: UserError if another model takes the place of this one.
        """
        for found in self.likelihoods(items):
            if isinstance(found, Unclassified):
                yield found
                continue
            logits = self._logits(found)
            if self._config.calibrates:
                prior = self._prior(items[found.index].pair is not None)
                logits = [value - before for value, before in zip(logits, prior, strict=True)]
            yield Prediction(found.index, tuple(math.exp(value) for value in _normalised(logits)), found.n_cut)

    def likelihoods(self, items: Sequence[Item]) -> Iterator[Likelihoods | Unclassified]:
        """What `predict` makes its probabilities of; as it, in any order."""
        for first in range(0, len(items), CHUNK_ITEMS):
            chunk = items[first : first + CHUNK_ITEMS]
            asked: list[_Asked] = []
            for one in self._asked(chunk, first):
                if isinstance(one, Unclassified):
                    yield one
                else:
                    asked.append(one)
            yield from self._answered(asked)

    # The model is asked ------------------------------------------------------------------------------------------

    def _answered(self, asked: Sequence[_Asked]) -> Iterator[Likelihoods | Unclassified]:
        requests = [request for one in asked for request in one.requests]
        n = len(self.labels)
        found: dict[int, dict[int, float | None]] = {}
        for number, value in self._scores(requests):
            values = found.setdefault(number // n, {})
            values[number % n] = value
            if len(values) < n:
                continue
            one = asked[number // n]
            sums = tuple(value for _, value in sorted(found.pop(number // n).items()) if value is not None)
            if len(sums) < n:
                yield Unclassified(one.index, *NO_MEMORY)
            elif all(map(math.isfinite, sums)):
                n_tokens = tuple(len(continuation) for _, continuation in one.requests)
                yield Likelihoods(one.index, sums, n_tokens, one.n_cut)
            else:
                yield Unclassified(one.index, *INVALID)

    def _scores(self, requests: Sequence[Request]) -> Iterator[tuple[int, float | None]]:
        """(number of a request, log-likelihood, or None where there is no memory for it), in any order."""
        left = set(range(len(requests)))
        while left:
            try:
                for number, value, _ in loglikelihoods(
                    self._loaded, self._host.turn, requests, adapter=self._adapter, wanted=frozenset(left),
                    room=self._room,
                ):
                    self._check()
                    if number in left:
                        left.remove(number)
                        yield number, value
                return
            except TooLargeAlone as error:
                yield from ((number, None) for number in sorted(left & error.indices))
                left -= error.indices
            except Exception:
                self._check()  # a model that is taken away in the middle of a pass fails in any way
                raise

    def _check(self) -> None:
        if self._host.loaded is not self._loaded:
            raise UserError("Another model was loaded meanwhile. Load the model of this classification again.")

    # Items become requests ---------------------------------------------------------------------------------------

    def _asked(self, items: Sequence[Item], first: int) -> Iterator[_Asked | Unclassified]:
        """Each item as requests; those that cannot be asked about come before all others."""
        prompt = self.prompt
        texts = [prompt.text(item) for item in items]
        fitted: list[tuple[int, str, int]] = []
        whole = zip(items, texts, self._encoding.text_ids(texts), strict=True)
        for index, (item, text, ids) in enumerate(whole, first):
            try:
                fitted.append((index, *self._fitted(item, text, len(ids))))
            except RowRefused as refused:
                yield Unclassified(index, refused.reason, refused.reason_zh)
        pairs = self._encoding.pairs([(text, word) for _, text, _ in fitted for word in prompt.continuations(text)])
        for index, _, n_cut in fitted:
            requests = tuple(islice(pairs, len(self.labels)))
            lost = [word for word, (_, ids) in zip(prompt.words, requests, strict=True) if not ids]
            if lost:
                yield Unclassified(
                    index, f"Here the label word {lost[0]!r} has no token of its own: end the template in a space.",
                    f"标签词 {lost[0]!r} 在此处没有自己的词元：请让模板以空格结尾。",
                )  # fmt: skip
            else:
                yield _Asked(index, requests, n_cut)

    def _fitted(self, item: Item, text: str, n: int) -> tuple[str, int]:
        """The prompt `text` of `n` tokens as it fits the context, and how many tokens were cut for that.

        The item's text is cut at its front; template and examples stay whole.
        Raises: RowRefused if nothing would be left of it, or if nothing may be cut.
        """
        if n <= self._n_context:
            return text, 0
        ends = self._token_ends(item.text)
        n_left, n_over = n, 0
        while n_left > self._n_context:
            n_over += n_left - self._n_context
            if n_over >= len(ends):
                raise RowRefused(
                    "Template, examples and labels leave no room for the text: the context of this model holds"
                    f" {self._loaded.n_context:,} tokens. Show fewer examples, or take a shorter template.",
                    f"模板、示例和标签没有给文本留下空间：该模型的上下文为 {self._loaded.n_context:,} 个词元。"
                    "请减少示例，或使用更短的模板。",
                )
            text = self.prompt.text(Item(item.text[ends[n_over - 1] :], item.pair))
            n_left = len(self._encoding.text_ids([text])[0])
        if self._is_strict:
            raise RowRefused(*too_long(n - n_left))
        return text, n - n_left

    def _token_ends(self, text: str) -> Sequence[int]:
        """Where each token of a text ends; where the tokenizer cannot say, where each character does."""
        tokenizer = self._loaded.tokenizer
        if not tokenizer.is_fast:
            return range(1, len(text) + 1)
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [end for _, end in encoded["offset_mapping"]]

    # Likelihoods become probabilities ----------------------------------------------------------------------------

    def _logits(self, found: Likelihoods) -> list[float]:
        """Log-probabilities that all labels share."""
        if self._config.normalisation == "length":
            return _normalised([value / n for value, n in zip(found.sums, found.n_tokens, strict=True)])
        return _normalised(found.sums)

    def _prior(self, is_pair: bool) -> list[float]:
        """Log of the probabilities that texts without content get, on average."""
        if is_pair not in self._priors:
            free = [Item(text, text if is_pair else None) for text in CONTENT_FREE]
            shares = []
            for found in self.likelihoods(free):
                if isinstance(found, Unclassified):
                    raise UserError(f"The labels cannot be calibrated: {found.reason}", param="calibrates")
                shares.append([math.exp(value) for value in self._logits(found)])
            means = [math.fsum(column) / len(shares) for column in zip(*shares, strict=True)]
            # What no text without content ever gets must not become infinitely likely.
            self._priors[is_pair] = [math.log(max(mean, 1e-12)) for mean in means]
        return self._priors[is_pair]


def _normalised(logits: Sequence[float]) -> list[float]:
    """Log-softmax."""
    most = max(logits)
    total = most + math.log(math.fsum(math.exp(value - most) for value in logits))
    return [value - total for value in logits]
