"""The command `compare`: two or more runs in, what changed and how sure that is on stdout."""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llm_app.config import Settings

Language = Literal["en", "zh"]

N_SHOWN = 3  # samples of a kind in the text; --json has all
MAX_SHOWN = 300  # characters of an answer
GROUPED = "Lines with a dash describe the tasks of the group above: intervals not corrected, nothing tested."
LANGUAGES: tuple[Language, ...] = ("en", "zh")


def add_parser(commands: Any) -> None:
    """The command and its flags."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "compare", help="Did it help? Two or more runs, task by task and sample by sample.", allow_abbrev=False
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN",
        help="Id of a run, its folder, or the harness's results; the first is the baseline.",
    )
    parser.add_argument("--metric", metavar="M", help="Such as acc_norm (default: the first that each task names).")
    parser.add_argument(
        "--alpha", type=float, default=0.05, metavar="X",
        help="How often a change may be claimed where there is none, over all tasks together (default 0.05).",
    )
    parser.add_argument("--json", action="store_true", help="Everything, with every sample, as JSON.")
    parser.add_argument("--verbose", action="store_true", help="More in the log; where it failed.")
    add_language(parser)


def add_language(parser: argparse.ArgumentParser) -> None:
    """The flag for the language of verdicts."""
    parser.add_argument("--language", choices=LANGUAGES, help="Of the verdict (default: that of the terminal).")


def run(options: argparse.Namespace) -> int:
    """Run the command; gives the exit code."""
    settings = Settings.from_environment()
    from llm_app.jobs.compare import compare_runs

    comparisons = compare_runs(options.runs, settings, metric=options.metric, alpha=options.alpha)
    print(json_text(comparisons) if options.json else _texts(comparisons, options.language))
    return 0


def comparison_text(run_ids: Sequence[str], settings: Settings, language: Language | None) -> str:
    """What the command prints for these runs."""
    from llm_app.jobs.compare import compare_runs

    return _texts(compare_runs(run_ids, settings), language)


def _texts(comparisons: Sequence[Any], language: Language | None) -> str:
    return "\n\n".join(text(comparison, language or language_of(os.environ)) for comparison in comparisons)


def language_of(environ: Mapping[str, str]) -> Language:
    """Chinese where the terminal is, else English."""
    name = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return "zh" if name.lower().startswith("zh") else "en"


def json_text(comparisons: Sequence[Any]) -> str:
    """All comparisons with their verdicts in both languages."""
    from eval.compare import to_json
    from eval.verdict import overall_verdict, task_verdict

    written = []
    for comparison in comparisons:
        data = to_json(comparison)
        data["verdict"] = {language: overall_verdict(comparison, language) for language in LANGUAGES}
        # Only what was tested has one; the tasks of a group are in its "parts".
        for task, row in zip(comparison.tasks, data["tasks"], strict=True):
            row["verdict"] = {language: task_verdict(comparison, task, language) for language in LANGUAGES}
        written.append(data)
    made = json.dumps({"comparisons": written}, ensure_ascii=False, allow_nan=False, indent=2)
    return made.encode("utf-8", errors="replace").decode("utf-8")  # half a character cannot be printed


def text(comparison: Any, language: Language) -> str:
    """One comparison as a person reads it: alarms, what it says over all, table, verdicts, first samples."""
    from eval.verdict import overall_verdict, task_verdict

    parts = [
        f"Baseline  {comparison.baseline}  (run {comparison.baseline_id})\n"
        f"Compared  {comparison.candidate}  (run {comparison.candidate_id})"
    ]
    number = LANGUAGES.index(language)  # alarms, notes and reasons are said in both
    parts += [f"ALARM: {alarm[number]}" for alarm in comparison.alarms]
    parts += [overall_verdict(comparison, language)]
    parts += ["\n".join(_table(comparison))]
    parts += ["\n".join(task_verdict(comparison, task, language) for task in comparison.tasks)]
    notes = [f"- {note[number]}" for note in comparison.notes]
    why, end = ((" is not comparable because ", "."), (" 不可比较：", "。"))[number]
    notes += [f"- {r.task}{why}{'; '.join(reason[number] for reason in r.reasons)}{end}" for r in comparison.refused]
    parts += ["\n".join(["Notes", *notes])] if notes else []
    parts += [shown for task in comparison.single_tasks if (shown := _samples(task))]
    return "\n\n".join(parts)


def _table(comparison: Any) -> list[str]:
    title = "p (Holm)" if comparison.n_tests > 1 else "p"
    interval = f"{100 * (1 - comparison.alpha):.3g} % interval"
    rows: list[tuple[str, ...]] = [
        ("task", "metric", "n", "baseline", "compared", "change", interval, title, "won", "lost", "tied", "shows")
    ]
    for task in comparison.tasks:
        rows += [_row(task), *(_row(part, " - ") for part in task.parts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    is_asked = any(task.is_metric_asked for task in comparison.tasks)
    tests = sorted({task.result.method for task in comparison.tasks})
    return [
        *lines,
        f"Metric: {'the one asked for' if is_asked else 'the first that each task names'}. Test: {'; '.join(tests)}."
        " ● better, ○ no detectable change, ▲ worse."
        " shows: the smallest change that would most likely be found (80 % power).",
        *([GROUPED] if any(task.parts for task in comparison.tasks) else []),
    ]


def _row(task: Any, before: str = "") -> tuple[str, ...]:
    from eval.verdict import SIGNS, change_text, interval_text, metric_text, p_text, score_text

    result = task.result
    # What is only described has no test that could show anything.
    is_tested = task.p_corrected is not None and result.detectable is not None
    return (
        before + task.task, metric_text(task) + (" ↑" if task.is_higher_better else " ↓"), f"{result.n}",
        score_text(result.first, task), score_text(result.second, task),
        f"{change_text(result.difference, task)} {SIGNS[task.outcome]}", interval_text(task, " to "),
        p_text(task.p_corrected).removeprefix("p ").removeprefix("= "),
        f"{task.wins}", f"{task.losses}", f"{task.ties}", change_text(result.detectable, task) if is_tested else "",
    )


def _samples(task: Any) -> str:
    """Counts of what became of the samples, and the first that changed."""
    kinds: dict[str, list[Any]] = {}
    for change in task.changes:
        kinds.setdefault(change.kind, []).append(change)
    order = ("fixed", "broken", "better", "worse", "changed", "both right", "both wrong", "equal")
    counts = ", ".join(f"{len(kinds[kind])} {kind}" for kind in order if kind in kinds)
    lines = [f"{task.task}: {counts}"]
    for kind in order[:5]:
        for change in kinds.get(kind, ())[:N_SHOWN]:
            lines.append(f"  {kind}, sample {change.sample}: {_short(change.prompt[-MAX_SHOWN:])}")
            lines.append(f"    target    {_short(change.target)}")
            lines.append(f"    baseline  {_short(change.answers[0])}")
            lines.append(f"    compared  {_short(change.answers[1])}")
    return "\n".join(lines)


def _short(text: str) -> str:
    """On one line, cut where it is long; nothing in it can move the cursor of a terminal."""
    line = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
    return line if len(line) <= MAX_SHOWN else line[:MAX_SHOWN] + "…"
