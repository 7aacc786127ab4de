"""README.md of what a training run leaves: what it learned from, how, and what the figures were."""

import json
from dataclasses import dataclass, fields

from llm_app import __version__
from llm_app.training.config import TrainConfig

_METHODS = {
    "lora": "LoRA", "qlora": "QLoRA", "full": "training of all weights", "dpo": "preference tuning (DPO) of a LoRA",
}


@dataclass(frozen=True)
class DatasetNote:
    """A data set as the card names it; `digest`: SHA-256 of its file; `n_examples`: those that were usable."""

    name: str
    digest: str
    n_examples: int


@dataclass(frozen=True)
class Figures:
    """What came of a run. Losses are means over trained tokens, in nats; None where there was no validation."""

    datasets: tuple[DatasetNote, ...]
    n_train: int  # examples
    n_validation: int
    n_steps: int
    n_tokens: int  # that passed through the model
    n_trained_tokens: int
    seconds: float
    loss_before: float | None = None  # on the validation examples, before the first step
    loss_after: float | None = None  # of the weights that are in this folder
    more: tuple[tuple[str, str], ...] = ()  # further lines of the table, as they are shown
    n_test: int = 0


def model_card(base: str, config: TrainConfig, figures: Figures, *, method: str) -> str:
    """The card of a run with these options. `method`: that of the options, or dpo."""
    head = {
        "base_model": base, "library_name": "transformers" if method == "full" else "peft",
        "pipeline_tag": "text-generation", "license": "other", "license_name": "see-the-base-model",
        "tags": ["proofbench", *([] if method == "full" else ["lora"])],
    }
    # A JSON value is a YAML value; names that people chose cannot end it.
    front = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())
    return "\n\n".join([
        f"---\n{front}\n---",
        f"# {plain(base)}, tuned",
        f"Made by {_METHODS[method]} from `{plain(base)}` with proofbench {__version__}. "
        + _how_to_load(base, method),
        "## Data", _data(figures),
        "## Figures", _figures(figures),
        "## Settings", _settings(config),
        "## Limits", _limits(figures),
        "## Licence", "The weights are derived from the base model: see the base. "
        "Whether they may be passed on also depends on the data above.",
    ]) + "\n"


def plain(text: str) -> str:
    """A name that cannot begin or end anything in Markdown."""
    return "".join(char for char in text if char.isprintable() and char not in "`|<>[]")[:200]


def _how_to_load(base: str, method: str) -> str:
    if method == "full":
        return "It is a whole model: load the folder with transformers."
    return f"Load it with peft: `PeftModel.from_pretrained(model, folder)`, where `model` is `{plain(base)}`."


def _data(figures: Figures) -> str:
    rows = [f"| `{plain(data.name)}` | {data.n_examples:,} | `{data.digest}` |" for data in figures.datasets]
    split = f"{figures.n_train:,} examples were trained on, {figures.n_validation:,} were held back for validation."
    if figures.n_test:
        split += f" {figures.n_test:,} were held back for a test alone: they chose nothing of these weights."
    return "\n".join(["| data set | examples | SHA-256 of the file |", "|---|---|---|", *rows, "", split])


def _figures(figures: Figures) -> str:
    rows = [
        ("optimiser steps", f"{figures.n_steps:,}"),
        ("tokens through the model", f"{figures.n_tokens:,}"),
        ("tokens trained on", f"{figures.n_trained_tokens:,}"),
        ("time", f"{figures.seconds:,.0f} s"),
        ("validation loss before", _loss(figures.loss_before)),
        ("validation loss after", _loss(figures.loss_after)),
        *figures.more,
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _loss(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"


def _settings(config: TrainConfig) -> str:
    given = [(item.name, getattr(config, item.name)) for item in fields(config)]
    rows = [f"| {name} | {plain(json.dumps(value, ensure_ascii=False))} |" for name, value in given]
    return "\n".join(["| option | value |", "|---|---|", *rows])


def _limits(figures: Figures) -> str:
    seen = "A lower validation loss shows that it predicts answers of this kind better"
    if figures.loss_before is None or figures.loss_after is None:
        seen = "No loss was measured on examples that were held back, so nothing is known about unseen ones"
    return (
        f"{seen}; it does not show that the answers are right, nor that nothing was forgotten. "
        "Compare it with its base on the tasks that matter before using it. "
        "It has every limit and bias of the base model and of the data above."
    )
