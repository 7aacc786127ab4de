"""Runs from their folders, ready to be compared: ids of this machine, or folders by path."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.compare import Answered, Comparison, Metric, Run, TaskRun, compare, harness_files
from eval.compare.measure import is_known
from eval.compare.run import IDENTITY, Aggregate, read_group
from eval.types import EvaluationError, TaskGroup
from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs.folder import ID, RunFolder, Spec
from llm_app.jobs.kept import read_asked, results_of


def compare_runs(
    names: Sequence[str], settings: Settings, *, metric: str | None = None, alpha: float = 0.05
) -> tuple[Comparison, ...]:
    """Every run against the first.

    Raises: UserError if there are fewer than two, one is not there, or one has nothing comparable, with the reasons.
    """
    if len(names) < 2:
        raise UserError("Name at least two runs to compare; the first is the baseline.", param="run")
    if not 0 < alpha < 1:
        raise UserError(f"alpha lies between 0 and 1, not at {alpha}.", param="alpha")
    runs = read_runs(names, settings, metric=metric)
    comparisons = compare(runs[0], runs[1:], metric=metric, alpha=alpha)
    for comparison in comparisons:
        if not comparison.tasks:
            raise UserError(_refused(comparison), param="run")
    return comparisons


def read_runs(names: Sequence[str], settings: Settings, *, metric: str | None = None) -> list[Run]:
    """Several, with labels that tell them apart.

    Raises: UserError.
    """
    return _told_apart([read_run(name, settings, metric=metric) for name in names])


def read_run(name: str, settings: Settings, *, metric: str | None = None) -> Run:
    """A run by its id or folder; or the harness's files, by their folder or by the path of `results_*.json`.

    `metric`: the one that will be looked at, the first of each task if None.
    Raises: UserError if there is none, or it is damaged.
    """
    if ID.fullmatch(name) and (settings.home / "runs" / name).is_dir():
        return _of_folder(RunFolder.open(settings.home / "runs", name), settings, metric)
    path = Path(name).expanduser()
    if (path / "spec.json").is_file():
        return _of_folder(RunFolder(path), settings, metric)
    if not path.exists():
        raise UserError(f"There is no run {name!r} here, and no folder of that name.", param="run")
    try:
        return harness_files.read(path)
    except (EvaluationError, OSError) as error:
        raise UserError(str(error), param="run") from error


def planned_run(spec: Spec) -> Run:
    """What a benchmark was to ask of whom, without its samples: of its folder nothing but the spec is read.

    Raises: KeyError, TypeError for one of an earlier version.
    """
    model = spec["model"]
    tasks = {
        name: TaskRun(name, task["version"], task["n_shots"], task["n_samples"], (), {}, task["digest"])
        for name, task in spec["tasks"].items()
    }
    return Run(spec["id"], _label(model), _identity(model), _conditions(model, spec["options"]), tasks)


def _of_folder(folder: RunFolder, settings: Settings, metric: str | None) -> Run:
    spec = folder.spec()
    if spec.get("kind") != "benchmark":
        raise UserError(f"Run {folder.id} is not a benchmark.", param="run")
    asked, results = read_asked(folder.path), results_of(folder)
    try:
        model, options = spec["model"], spec["options"]
        functions = _functions(spec, settings, metric)
        tasks = {}
        for name, described in spec["tasks"].items():
            samples = {}
            for result in results.get(name, ()):
                row = asked[name][result.sample]
                samples[result.sample] = Answered(
                    result.sample, row["digest"], row["doc"], row["target"], tuple(row["requests"]), result.answers,
                    result.scores, result.error, result.is_cut,
                )
            metrics = tuple(
                Metric(m["name"], functions.get((name, m["name"]), m["aggregation"]), m["higher_is_better"])
                for m in described["metrics"]
            )
            tasks[name] = TaskRun(
                name, described["version"], described["n_shots"], described["n_samples"], metrics, samples,
                described["digest"],
            )
        return Run(
            folder.id, _label(model), _identity(model),
            _conditions(model, options), tasks, _setting(spec), _groups(folder, spec), tuple(spec["asked"]),
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            f"Run {folder.id} lacks {error}: it is damaged, or of an earlier version. Run the benchmark again.",
            param="run",
        ) from error


def _groups(folder: RunFolder, spec: Spec) -> dict[str, TaskGroup]:
    """What was asked for by one name. Runs of earlier versions have it in their results only, once they are done."""
    if "groups" in spec:
        return {name: read_group(group) for name, group in spec["groups"].items()}
    from llm_app.jobs.files import read_results  # seconds, for the few runs that need it

    found = harness_files.groups_of(read_results(folder))
    return {name: group for name, group in found.items() if set(group.tasks) <= spec["tasks"].keys()}


def _identity(model: Spec) -> dict[str, str]:
    return {word: str(model[key]) for key, word in IDENTITY.items()}


def _conditions(model: Spec, options: Spec) -> dict[str, Any]:
    uses_template = options["uses_chat_template"]
    return {
        "seed of the examples": harness_files.FEWSHOT_SEED if options["seed"] is None else options["seed"],
        "use of the chat template (--chat-template)": uses_template,
        "chat template": model["template"] if uses_template else None,
    }


def _setting(spec: Spec) -> dict[str, str]:
    versions = {f"version of {name}": version for name, version in spec["packages"].items()}
    settings = {"context length": str(spec["context"]), "device": spec["model"]["device"]}
    return {"version of this program": spec["program"], **versions, **settings}


def _functions(spec: Spec, settings: Settings, wanted: str | None) -> dict[tuple[str, str], Aggregate]:
    """Aggregations that only the task itself has, by task and metric. What cannot be loaded is left out."""
    looked_at = [
        metric["aggregation"]
        for task in spec["tasks"].values() for number, metric in enumerate(task["metrics"])
        if (number == 0 if wanted is None else metric["name"] == wanted.split(",")[0])
    ]
    if all(is_known(name) for name in looked_at):
        return {}
    from eval.tasks.harness import TaskOptions, load_tasks  # seconds, for the few metrics that need it

    try:
        suite = load_tasks(spec["asked"], TaskOptions(limit=1), data=settings.data)
    except EvaluationError:
        return {}
    return {
        (name, metric): function
        for name, task in suite.tasks.items() for metric, function in task.harness.aggregation().items()
    }


def _label(model: Spec) -> str:
    name = Path(model["name"]).name or model["name"]
    return f"{name} + {Path(model['adapter_name']).name}" if model["adapter_name"] else name


def _told_apart(runs: list[Run]) -> list[Run]:
    """Labels with the precision where that differs, and with the id where labels would still be equal."""
    precisions = [run.identity.get("precision", "") for run in runs]
    if len(set(precisions)) > 1:
        runs = [
            replace(run, label=f"{run.label} ({precision})") if precision else run
            for run, precision in zip(runs, precisions, strict=True)
        ]
    labels = [run.label for run in runs]
    return [replace(run, label=f"{run.label} [{run.id}]") if labels.count(run.label) > 1 else run for run in runs]


def _refused(comparison: Comparison) -> str:
    pair = f"{comparison.baseline} ({comparison.baseline_id}) and {comparison.candidate} ({comparison.candidate_id})"
    if not comparison.refused:
        return f"{pair} have no task in common."
    reasons = dict.fromkeys(reason for refusal in comparison.refused for reason in refusal.reasons)
    lines = []
    for reason in reasons:
        tasks = ", ".join(refusal.task for refusal in comparison.refused if reason in refusal.reasons)
        lines.append(f"- {reason[0]} ({tasks})")
    return "\n".join([f"{pair} are not comparable because:", *lines])
