"""What a chat model is shown before it is asked for a label: the filled template, after examples if there are some."""

import random
import re
from collections.abc import Sequence

from llm_app.classify.config import ZeroShotConfig
from llm_app.classify.labels import check_labels
from llm_app.classify.scripts import UNSPACED
from llm_app.classify.types import Item
from llm_app.errors import UserError

BETWEEN_EXAMPLES = "\n\n"
_FIELD = re.compile(r"\{(text|pair|labels)\}")
# Nothing separates what stands beside a character of such a script, or beside its punctuation.
_UNSPACED = re.compile(f"[{UNSPACED}\u3000-\u303f\uff00-\uffef]")
Example = tuple[Item, str]  # with its label


class Prompt:
    """A template for these labels. `examples`: shown in this order before each item.

    Raises: UserError if labels, words and examples do not go together.
    """

    def __init__(self, config: ZeroShotConfig, labels: Sequence[str], examples: Sequence[Example] = ()) -> None:
        self.labels = check_labels(labels)
        self.words = _words(config, self.labels)
        self._template = config.template
        self._before = "".join(self._example(item, label) for item, label in examples)

    def text(self, item: Item) -> str:
        """What stands before the label's word. Without {pair} in the template, the second text follows the first."""
        return self._before + self._filled(item)

    def continuations(self, text: str) -> list[str]:
        """The label's words as they follow such a text: after a space, unless the script has none or one is there."""
        is_open = not text or text[-1].isspace() or _UNSPACED.match(text[-1]) is not None
        return [word if is_open or _UNSPACED.match(word) else f" {word}" for word in self.words]

    def _example(self, item: Item, label: str) -> str:
        if label not in self.labels:
            raise UserError(f"An example has the label {label[:80]!r}, which is none of the labels.", param="labels")
        text = self._filled(item)
        return text + self.continuations(text)[self.labels.index(label)] + BETWEEN_EXAMPLES

    def _filled(self, item: Item) -> str:
        text = item.text
        if item.pair is not None and "{pair}" not in self._template:
            text = f"{text}\n{item.pair}"
        values = {"text": text, "pair": item.pair or "", "labels": ", ".join(self.labels)}
        # In one go: a text that says {labels} is not filled in itself.
        return _FIELD.sub(lambda field: values[field[1]], self._template)


def choose_examples(truths: Sequence[str | None], labels: Sequence[str], config: ZeroShotConfig) -> list[int]:
    """Which rows to show, by their places: in turn from each label, as the seed decides; fewer if there are no more.

    They are shown, so they must not be scored.
    """
    draw = random.Random(config.seed)  # noqa: S311 - an order, not a secret
    waiting = []
    for label in labels:
        places = [place for place, truth in enumerate(truths) if truth == label]
        draw.shuffle(places)
        waiting.append(places)
    chosen: list[int] = []
    while len(chosen) < config.n_examples and any(waiting):
        chosen += [places.pop() for places in waiting if places][: config.n_examples - len(chosen)]
    return chosen


def _words(config: ZeroShotConfig, labels: tuple[str, ...]) -> tuple[str, ...]:
    words = tuple(word.strip() for word in config.words) or labels
    if len(words) != len(labels):
        raise UserError(
            f"There are {len(words)} label words for {len(labels)} labels. Give one a label, in their order.",
            param="words",
        )
    if not all(words) or len(set(words)) < len(words):
        raise UserError("A label word is empty, or stands for two labels. Give each label its own.", param="words")
    return words
