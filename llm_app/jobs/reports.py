"""Runs from their folders, ready for eval.report; neither the model nor its data sets are opened."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.report import Reported
from llm_app.config import Settings
from llm_app.jobs.command import command_of
from llm_app.jobs.compare import read_run
from llm_app.jobs.files import read_extracted, read_results
from llm_app.jobs.folder import ID, RunFolder, Spec

# As eval.report.text names them <- as spec.json does.
MODEL = {
    "name": "name", "adapter": "adapter_name", "precision": "precision", "weights": "weights",
    "adapter_digest": "adapter", "tokenizer": "tokenizer", "template": "template", "config": "config",
}


def read_reports(names: Sequence[str], settings: Settings) -> list[Reported]:
    """Runs by id or folder; also results of lm-evaluation-harness by their path. Labels are told apart.

    Raises: UserError if there is no such run, or it is damaged.
    """
    found = [read_report(name, settings) for name in dict.fromkeys(names)]
    labels = [reported.label for reported in found]
    return [
        replace(one, label=f"{one.label} [{one.run.id}]") if labels.count(one.label) > 1 else one for one in found
    ]


def read_report(name: str, settings: Settings) -> Reported:
    """One of them.

    Raises: UserError.
    """
    run = read_run(name, settings)
    path = settings.home / "runs" / name if ID.fullmatch(name) else Path(name).expanduser()
    if not (path / "spec.json").is_file():
        return Reported(run, run.label)
    folder = RunFolder(path)
    spec = folder.spec()
    model, options, results = spec["model"], spec["options"], read_results(folder)
    return Reported(
        run,
        label=f"{run.label} ({model['precision']})",
        created=spec["created"],
        model={shown: str(model[key] or "") for shown, key in MODEL.items()},
        settings=_settings(spec, options, results),
        versions={"proofbench": spec["program"], **spec["packages"]},
        results=results,
        extracted={task: read_extracted(folder, task) for task in run.tasks},
        command=command_of(spec),
    )


def _settings(spec: Spec, options: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, str]:
    """As they are shown; empty for the task's own."""
    settings = {
        "shots": options["n_shots"], "limit": options["limit"], "seed": options["seed"], "context": spec["context"],
    }
    shown = {key: "" if value is None else str(value) for key, value in settings.items()}
    shown["chat_template"] = "✓" if options["uses_chat_template"] else ""
    room = results.get("room")
    if room is not None:
        shown["room"] = f"{room['tokens']:,} / {room['replies']:,}"
    return shown
