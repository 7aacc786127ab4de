"""What a report is made of: a run with its answers, who answered under which settings, and how to do it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eval.compare.run import Run


@dataclass(frozen=True)
class Reported:
    """One run, ready to be reported. Everything comes from its folder; neither the model nor the data is needed.

    `model`: name, adapter, precision and digests; `settings` and `versions`: as they are shown. `results`: the run's
    `results_*.json`, empty if it has none yet. `extracted`: task -> sample -> filter -> what the filter took as the
    answer. `command`: shell-quoted, repeats the run; empty where it is not known.
    """

    run: Run
    label: str
    created: str = ""  # ISO, UTC
    model: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    extracted: Mapping[str, Mapping[int, Mapping[str, Any]]] = field(default_factory=dict)
    command: str = ""
