"""Writes docs/settings.md from the option dataclasses: `make docs`. A test compares the two."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from llm_app.classify.config import ClassifierConfig, ZeroShotConfig
from llm_app.classify.entities.config import EntityConfig
from llm_app.config import ModelConfig, SamplingConfig, ServeConfig
from llm_app.flags import describe_range, flag_of
from llm_app.options import kind_of, options_of
from llm_app.training.config import TrainConfig
from llm_app.training.search_config import SearchConfig

ENVIRONMENT = """\
# Settings

Made by `make docs` from `llm_app/config.py`, `llm_app/classify/` and `llm_app/training/`, where each option is declared once. From
the same declaration come the control on the page, the command-line flag and the check of the JSON field.

## Environment

Read once at start.

| variable | default | what it does |
|---|---|---|
| `PROOFBENCH_HOME` | `~/.proofbench` | Everything the program keeps. Models are offered from its folder `models`, adapters from `adapters`. |
| `PROOFBENCH_DATA` | none | A data folder laid out as the hub lays out data repositories. |
| `PROOFBENCH_PUBLIC` | off | `1` makes it a public demo: listed models only, no paths from visitors, nothing downloaded. A Hugging Face Space is one by itself. |
| `PROOFBENCH_REMOTE_KEY`, `PROOFBENCH_REMOTE_KEY_FILE` | none | The key of a [model on another server](remote.md), or a file whose first line is the key. |
| `HF_HOME`, `HF_HUB_OFFLINE` | the hub's own | Where hub models are cached, and `1` to never ask the hub. |

Telemetry of the libraries is switched off in any case.
"""

SECTIONS = (
    ("Model", "`chat`, `serve`; the model bar of the page", ModelConfig),
    ("Sampling", "`chat`; the options of the Chat tab; fields of the API where it has them", SamplingConfig),
    ("Prompt of a classification", "`classify`; the Classify tab; fields of `/v1/classify`", ZeroShotConfig),
    ("Training of a classifier", "`classify train`, `classify search`, `classify glue`; the Classify tab", ClassifierConfig),
    ("Training of a tagger", "`classify entities train`", EntityConfig),
    ("Training", "`train`, `search`; the Tune tab", TrainConfig),
    ("Search", "`search`, `classify search`; the Tune and the Classify tab", SearchConfig),
    ("Server", "`serve`, `python app.py`", ServeConfig),
)


def table(config: type[Any]) -> str:
    """One line an option."""
    lines = ["| flag | what it does |", "|---|---|"]
    for item, info in options_of(config):
        choices = f" One of {', '.join(info.choices)}." if info.choices else ""
        text = f"{info.help[0]}{choices} {describe_range(item, info)}".rstrip()
        flag = f"`{flag_of(item.name)}`"
        if kind_of(item, info) is bool:
            flag += f", `{flag_of(f'no_{item.name}')}`"
        lines.append(f"| {flag} | {text} |")
    return "\n".join(lines)


def page() -> str:
    """The whole of docs/settings.md."""
    parts = [ENVIRONMENT]
    for title, where, config in SECTIONS:
        parts.append(f"## {title}\n\nUsed by {where}.\n\n{table(config)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
