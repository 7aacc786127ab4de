"""Who can be set against whom: base and adapters, two precisions, two ways of decoding."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from llm_app.config import PRECISIONS, ModelConfig, SamplingConfig
from llm_app.engine import catalog, fit
from llm_app.engine.host import Host
from llm_app.engine.loading import LoadedModel, LoadProgress
from llm_app.errors import DoesNotFit, UserError
from llm_app.options import Text
from llm_app.services import Services
from llm_app.votes import Contestant
from llm_app.web import text
from llm_app.web.failures import SentenceError

KindName = Literal["adapter", "precision", "decoding"]
BASE = ""  # the name of the base among adapters
N_BEAMS, TOP_K, TOP_P, TEMPERATURE = 4, 40, 0.9, 1.0  # where the person's settings have the like switched off
# What decides the text beside the ways of choosing a token; named where it is not the default.
OTHERS = (
    "repetition_penalty", "presence_penalty", "frequency_penalty", "no_repeat_ngram", "stop", "reply_prefix",
)  # fmt: skip
DEFAULT = SamplingConfig()
Choice = tuple[Any, str]  # the label in the browser's language, and what is sent


@dataclass(frozen=True)
class Side:
    """One of the two that answer."""

    host: Host
    adapter: str | None
    sampling: SamplingConfig
    name: Text
    contestant: Contestant


@dataclass(frozen=True)
class Offer:
    """What can be chosen for the two sides, and what is chosen first."""

    first: list[Choice]
    second: list[Choice]
    chosen: tuple[str | None, str | None]

    def check(self, first: object, second: object) -> tuple[str, str]:
        """The two that were chosen, whatever a browser sent.

        Raises: UserError.
        """
        for value, choices in ((first, self.first), (second, self.second)):
            if value not in [name for _, name in choices]:
                raise SentenceError("compare_not_offered", which=str(value)[:60])
        if first == second:
            raise SentenceError("compare_same")
        return str(first), str(second)


class Kind(Protocol):
    """One way to compare."""

    def offer(self) -> Offer:
        """The choices as things stand. Raises: UserError if there is nothing to compare."""
        ...

    def prepare(self, first: str, second: str) -> Iterator[LoadProgress]:
        """Have both at hand, as an iterator that can be closed. Raises: UserError."""
        ...

    def side(self, name: str, sampling: SamplingConfig) -> Side:
        """One side, once both are at hand."""
        ...


class AdapterKind:
    """The base and its adapters, switched inside one loaded model."""

    def __init__(self, services: Services) -> None:
        self._settings, self._host = services.settings, services.host

    def offer(self) -> Offer:
        """The base first; on a public page only adapters that are attached already."""
        names = list(self._host.loaded.adapters.offered)
        if not self._settings.is_public:
            names += [e.name for e in catalog.list_adapters(self._settings) if e.name not in names]
        if not names:
            raise SentenceError("compare_no_adapter")
        choices: list[Choice] = [(text.label("side_base"), BASE), *((name, name) for name in names)]
        answering = self._host.adapter
        return Offer(choices, choices, (BASE, answering if answering in names else names[0]))

    def prepare(self, first: str, second: str) -> Iterator[LoadProgress]:
        """Attach what is not attached; others go on with the adapter that they have."""
        for name in (first, second):
            if name != BASE and name not in self._host.loaded.adapters.offered:
                yield LoadProgress("reading", 0.0)
                self._host.attach(name, answers=False)

    def side(self, name: str, sampling: SamplingConfig) -> Side:
        """The base, or an adapter by its name."""
        adapter = None if name == BASE else name
        shown = text.filled("side_adapter", which=name) if adapter else text.filled("side_base")
        return Side(self._host, adapter, sampling, shown, contestant(self._host.loaded, adapter, sampling))


class PrecisionKind:
    """The loaded model, and the same one in another precision beside it, where that fits."""

    def __init__(self, services: Services) -> None:
        self._settings, self._host, self._second = services.settings, services.host, services.second

    def offer(self) -> Offer:
        """On one side what is loaded; on the other all else that this file can be."""
        if self._settings.is_public:
            raise SentenceError("compare_public_precision")
        loaded = self._host.loaded
        is_gguf = loaded.entry.path.suffix == ".gguf"
        others = [p for p in PRECISIONS if p not in ("auto", loaded.precision) and (is_gguf or p != "gguf")]
        first: list[Choice] = [(loaded.precision, loaded.precision)]
        return Offer(first, [(name, name) for name in others], (loaded.precision, _likely(others)))

    def estimate(self, precision: str) -> tuple[Text, bool]:
        """What the second model needs and what is free, as a sentence, and whether it fits."""
        if self._is_at_hand(precision):
            return ("", ""), True
        found = fit.estimate(self._host.loaded.entry, self._config(precision))
        english, chinese = fit.sentence(found)
        return (
            text.filled("compare_beside", which=precision, sentence=english)[0],
            text.filled("compare_beside", which=precision, sentence=chinese)[1],
        ), found.fits

    def prepare(self, first: str, second: str) -> Iterator[LoadProgress]:
        """Load the other precision unless it is at hand.

        Raises: DoesNotFit with the numbers.
        """
        sentence, fits = self.estimate(second)
        if not fits:
            raise DoesNotFit(sentence[0], param="precision")
        yield from self._second.load(self._config(second))

    def side(self, name: str, sampling: SamplingConfig) -> Side:
        """The loaded model, or the one beside it; with the adapter that answers in both."""
        host = self._host if name == self._host.loaded.precision else self._second.host
        loaded, adapter = host.loaded, host.adapter
        return Side(host, adapter, sampling, (loaded.precision,) * 2, contestant(loaded, adapter, sampling))

    def _config(self, precision: str) -> ModelConfig:
        return replace(self._host.loaded.config, precision=precision, adapter=self._host.adapter)

    def _is_at_hand(self, precision: str) -> bool:
        try:
            return self._second.host.loaded.config == self._config(precision)
        except UserError:
            return False


class DecodingKind:
    """One model, two ways of choosing the next token."""

    NAMES = ("greedy", "beam", "top_k", "nucleus", "settings")

    def __init__(self, services: Services) -> None:
        self._host = services.host

    def offer(self) -> Offer:
        """The textbook's four, and what the person set."""
        choices: list[Choice] = [(text.label(f"decoding_{name}"), name) for name in self.NAMES]
        return Offer(choices, choices, ("greedy", "nucleus"))

    def prepare(self, first: str, second: str) -> Iterator[LoadProgress]:
        """Everything is at hand."""
        yield from ()

    def side(self, name: str, sampling: SamplingConfig) -> Side:
        """The loaded model, decoding in this way."""
        sampling, adapter = strategy(name, sampling), self._host.adapter
        made = contestant(self._host.loaded, adapter, sampling)
        return Side(self._host, adapter, sampling, text.filled(f"decoding_{name}"), made)


def strategy(name: str, sampling: SamplingConfig) -> SamplingConfig:
    """A way of decoding by its name: one rule switched on, as the person set it, and the others off."""
    temperature = sampling.temperature or TEMPERATURE
    if name == "greedy":
        return replace(sampling, temperature=0.0, n_beams=1)
    if name == "beam":
        return replace(sampling, temperature=0.0, n_beams=sampling.n_beams if sampling.n_beams > 1 else N_BEAMS)
    sampled = replace(sampling, temperature=temperature, n_beams=1, min_p=0.0)
    if name == "top_k":
        return replace(sampled, top_k=sampling.top_k if sampling.top_k > 1 else TOP_K, top_p=1.0)
    if name == "nucleus":
        return replace(sampled, top_k=0, top_p=sampling.top_p if sampling.top_p < 1 else TOP_P)
    return sampling


def contestant(loaded: LoadedModel, adapter: str | None, sampling: SamplingConfig) -> Contestant:
    """Who answers so, for the votes."""
    identity = loaded.identity.with_adapter(loaded.adapters.digest(adapter))
    return Contestant(loaded.entry.title, loaded.precision, adapter or "", decoding(sampling), identity.digest())


def decoding(sampling: SamplingConfig) -> str:
    """Everything of the sampling that decides the text, but the seed, as JSON; two that choose alike are equal."""
    said: dict[str, object] = {"max_new_tokens": sampling.max_new_tokens}
    if sampling.n_beams > 1:
        said["n_beams"] = sampling.n_beams
    elif sampling.is_greedy:
        said["temperature"] = 0
    else:
        said["temperature"] = sampling.temperature
        cuts = {"top_p": (sampling.top_p, 1.0), "top_k": (sampling.top_k, 0), "min_p": (sampling.min_p, 0.0)}
        said |= {name: value for name, (value, off) in cuts.items() if value != off}
    said |= {name: getattr(sampling, name) for name in OTHERS if getattr(sampling, name) != getattr(DEFAULT, name)}
    return json.dumps(said, sort_keys=True, ensure_ascii=False)


def _likely(precisions: list[str]) -> str | None:
    """The one that people ask about first: what 4 bits cost."""
    return next((name for name in ("nf4", "fp32") if name in precisions), precisions[0] if precisions else None)
