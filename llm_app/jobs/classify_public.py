"""What a public demo classifies, and which classifiers it trains: so little that others need not wait long."""

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.types import Classifier
from llm_app.classify.zero_shot import ZeroShot
from llm_app.config import Settings
from llm_app.errors import UserError

# Texts times labels: of a table some minutes on two cores, of one text (word after word left out) some seconds.
TABLE, ONE_TEXT = 10_000, 1_000
# An encoder or a chat model takes minutes, and what comes of an encoder is more than a visitor may keep.
METHODS = ("lstm", "tfidf")
EPOCHS, LENGTH = 10.0, 256


def check_work(classifier: Classifier, n_texts: int, settings: Settings, *, most: int = TABLE) -> None:
    """Nothing on a machine of one's own; nor for a trained classifier, which has all its labels in one pass.

    Raises: UserError if this is more than a public demo does, with the limit.
    """
    n_labels = len(classifier.labels)
    if settings.is_public and isinstance(classifier, ZeroShot) and n_texts * n_labels > most:
        raise UserError(
            f"On a public demo a chat model compares at most {most:,} texts times labels at once, not {n_texts:,} times"
            f" {n_labels:,}. Take fewer of them.", param="labels",
        )  # fmt: skip


def check_training(config: ClassifierConfig, base: str | None) -> None:
    """Rows and time have limits of their own, as of all trainings there.

    Raises: UserError naming the first setting that is beyond what a public demo does, and the limit.
    """
    if config.method not in METHODS:
        raise UserError(f"A public demo trains small classifiers only. Choose {' or '.join(METHODS)}.", param="method")
    if base is not None:
        raise UserError("A public demo trains from the table alone: leave out the base.", param="model")
    for name, value, most in (("epochs", config.n_epochs, EPOCHS), ("max_length", config.max_length, LENGTH)):
        if value > most:
            raise UserError(f"{name} is at most {most:g} on a public demo, not {value:g}.", param=name)
