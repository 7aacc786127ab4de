"""POST /v1/classify: labels for texts or pairs, by the loaded chat model or by a trained classifier."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from anyio.from_thread import check_cancelled
from fastapi import FastAPI, Request, Response
from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from llm_app.api.body import body_schema, read_body
from llm_app.api.forms import Form
from llm_app.api.json_text import json_answer
from llm_app.api.work import Work, while_connected
from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.folder import read_note
from llm_app.classify.judged import confidence_of
from llm_app.classify.labels import MAX_LABELS, threshold_of
from llm_app.classify.types import Classifier, Item, Outcome, Prediction, answer
from llm_app.classify.zero_shot import ZeroShot
from llm_app.errors import UserError
from llm_app.jobs.classify_open import Asked, listed
from llm_app.jobs.classify_public import check_work
from llm_app.options import options_of

MAX_INPUTS = 1_000
MAX_SCORES = 100_000  # probabilities in one answer, and labels that are asked about: about 3 MB of JSON
MAX_CHARACTERS = 1_000_000  # of all texts together; the body has the same limit, in bytes

_HELP = {item.name: info.help[0] for item, info in options_of(ZeroShotConfig)}


def _as_inputs(value: Any) -> Any:
    """One text, several, or several pairs, always as a list."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(part, str) for part in value):
            return value
        if all(isinstance(part, list) and len(part) == 2 and all(isinstance(t, str) for t in part) for part in value):
            return value
    raise PydanticCustomError("input_type", "must be a string, a list of strings, or a list of pairs of strings")


Inputs = Annotated[list[str | list[str]], Field(max_length=MAX_INPUTS), BeforeValidator(_as_inputs)]


class ClassifyRequest(Form):
    """Texts with the labels to choose among; a trained classifier has its own, and takes no prompt."""

    model: str = Field(description="The loaded chat model, of /v1/models, or a classifier, of /v1/classifiers.")
    input: Inputs
    labels: list[str] | None = Field(default=None, max_length=MAX_LABELS)
    template: str | None = Field(default=None, max_length=20_000, description=_HELP["template"])
    words: list[str] | None = Field(default=None, max_length=MAX_LABELS, description=_HELP["words"])
    normalisation: str | None = Field(default=None, description=_HELP["normalisation"])
    calibrates: bool | None = Field(default=None, description=_HELP["calibrates"])
    threshold: float | None = Field(
        default=None, ge=0, le=1,
        description="What the second of two labels, or each of several, must reach; by default 0.5.",
    )
    strict: bool = Field(default=False, description="Refuse texts that are too long instead of cutting them.")

    @model_validator(mode="after")
    def _is_bounded(self) -> "ClassifyRequest":
        n_characters = sum(len(text) for one in self.input for text in ([one] if isinstance(one, str) else one))
        if n_characters > MAX_CHARACTERS:
            sentence = f"A request takes at most {MAX_CHARACTERS:,} characters, not {n_characters:,}."
            raise UserError(sentence, param="input")
        self.check_size(len(self.labels or ()))
        return self

    def check_size(self, n_labels: int) -> None:
        """Raises: UserError if the answer would hold too many probabilities."""
        if len(self.input) * n_labels > MAX_SCORES:
            raise UserError(f"A request takes at most {MAX_SCORES:,} inputs times labels.", param="input")

    @property
    def items(self) -> list[Item]:
        """What is classified."""
        return [Item(one) if isinstance(one, str) else Item(*one) for one in self.input]

    @property
    def prompt(self) -> dict[str, Any]:
        """What was said of the prompt."""
        said = {"template": self.template, "words": self.words, "normalisation": self.normalisation,
                "calibrates": self.calibrates}
        return {name: tuple(value) if isinstance(value, list) else value
                for name, value in said.items() if value is not None}


class ClassifierShelf:
    """The loaded chat model and the trained classifiers of this machine, by the names that requests give."""

    def __init__(self, work: Work) -> None:
        self._work = work

    @contextmanager
    def lent(self, asked: ClassifyRequest) -> Iterator[Classifier]:
        """The classifier of a request, for as long as this lasts.

        Raises: ModelNotFound; UserError for a prompt or labels that a trained classifier does not take, or for too
        many labels.
        """
        work = self._work
        if asked.model in listed(work.settings):
            given = next((name for name in ("labels", *asked.prompt) if getattr(asked, name) is not None), None)
            if given is not None:
                raise UserError("A trained classifier has its own labels and no prompt; leave this out.", param=given)
            with work.classifiers.lent(Asked(asked.model, is_strict=asked.strict)) as classifier:
                asked.check_size(len(classifier.labels))
                yield classifier
            return
        target = work.target(asked.model)
        config = ZeroShotConfig(**asked.prompt)
        chat = ZeroShot(work.host, asked.labels or (), config, adapter=target.adapter, is_strict=asked.strict)
        check_work(chat, len(asked.input), work.settings)
        yield chat

    def described(self) -> list[dict[str, Any]]:
        """The trained ones; of one that is damaged, why it cannot be used."""
        return [self._described(name) for name in listed(self._work.settings)]

    def _described(self, name: str) -> dict[str, Any]:
        line = {"id": name, "object": "classifier", "owned_by": "proofbench"}
        try:
            file = read_note(self._work.settings.classifiers / name)
        except UserError as error:
            return line | {"error": error.message}
        return line | {"method": file.method, "kind": file.kind, "labels": list(file.labels), "is_pair": file.is_pair}


def add_classify_routes(api: FastAPI, work: Work) -> None:
    """The routes, on this engine and this machine's trained classifiers."""
    shelf = ClassifierShelf(work)

    @api.post("/v1/classify", openapi_extra=body_schema(ClassifyRequest))
    async def classify(request: Request) -> Response:
        """A label for each input, with the probability of every label."""
        asked = await read_body(request, ClassifyRequest)
        outcomes = await while_connected(request.receive, work.measure(_classified, shelf, asked))
        return await work.prepare(json_answer, lambda: _body(asked, *outcomes))

    @api.get("/v1/classifiers")
    async def classifiers() -> dict[str, Any]:
        """The trained classifiers of this machine, besides which the loaded chat model classifies by prompt."""
        return {"object": "list", "data": await work.prepare(shelf.described)}


def _classified(shelf: ClassifierShelf, asked: ClassifyRequest) -> tuple[Classifier, float, list[Outcome]]:
    """Runs on a thread; ends between two passes of the model when nobody reads the answer any more.

    With the threshold in effect. Raises: as `ClassifierShelf.lent`; UserError for a threshold that has no use.
    """
    outcomes = []
    with shelf.lent(asked) as classifier:
        threshold = threshold_of(asked.threshold, classifier.kind, classifier.labels)
        for outcome in classifier.predict(asked.items):
            check_cancelled()
            outcomes.append(outcome)
    return classifier, threshold, sorted(outcomes, key=lambda outcome: outcome.index)


def _body(
    asked: ClassifyRequest, classifier: Classifier, threshold: float, outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    n_cut = sum(outcome.n_cut for outcome in outcomes if isinstance(outcome, Prediction))
    return {
        "object": "list", "model": asked.model, "kind": classifier.kind,
        "data": [_line(classifier, outcome, threshold) for outcome in outcomes],
        "usage": {"n_inputs": len(outcomes), "n_cut": n_cut},
    }  # fmt: skip


def _line(classifier: Classifier, outcome: Outcome, threshold: float) -> dict[str, Any]:
    line: dict[str, Any] = {"object": "classification", "index": outcome.index}
    if not isinstance(outcome, Prediction):
        return line | {"error": outcome.reason}
    said = answer(classifier.kind, classifier.labels, outcome.scores, threshold)
    if classifier.kind == "regression":
        return line | {"value": said, "n_cut": outcome.n_cut}
    return line | {
        **({"labels": list(said)} if isinstance(said, tuple) else {"label": said}),
        "probability": confidence_of(classifier.kind, classifier.labels, outcome.scores, said),
        "probabilities": dict(zip(classifier.labels, outcome.scores, strict=True)), "n_cut": outcome.n_cut,
    }
