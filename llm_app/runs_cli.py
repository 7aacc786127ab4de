"""The commands `runs` and `doctor`: the list of runs, deleting and noting them, and what is wrong with their files."""

import argparse
import datetime
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from llm_app.config import Settings
from llm_app.logs import one_line

if TYPE_CHECKING:
    from llm_app.jobs.store import RunStore

FAILURE = 1
HEADER = ("run", "kind", "status", "model", "tasks", "done", "score", "when")
MAX_CELL = 28


def add_parsers(commands: Any) -> None:
    """Both commands and their flags."""
    runs: argparse.ArgumentParser = commands.add_parser(
        "runs", help="List runs, delete one, write a note beside one.", allow_abbrev=False
    )
    runs.add_argument("--n", type=_count, default=20, metavar="N", help="So many, newest first (default 20).")
    runs.add_argument("--offset", type=_count, default=0, metavar="N", help="Leave out the N newest.")
    runs.add_argument("--json", action="store_true", help="As JSON.")
    actions = runs.add_subparsers(dest="action", metavar="ACTION")
    delete = actions.add_parser("delete", help="Remove runs for good.", allow_abbrev=False)
    delete.add_argument("runs", nargs="+", metavar="RUN")
    delete.add_argument("--with-results", action="store_true", help="And the adapters or models that they offer.")
    note = actions.add_parser("note", help="Write a remark beside a run; an empty one takes it away.")
    note.add_argument("run", metavar="RUN")
    note.add_argument("text", metavar="TEXT")
    doctor: argparse.ArgumentParser = commands.add_parser(
        "doctor", help="Look through all runs for damaged and left-over files.", allow_abbrev=False
    )
    doctor.add_argument("--repair", action="store_true", help="Mend them. No result is thrown away.")


def run(options: argparse.Namespace) -> int:
    """Run `runs`; gives the exit code."""
    from llm_app.jobs.store import RunStore

    settings = Settings.from_environment()
    store = RunStore.of(settings)
    if options.action == "delete":
        for run_id in options.runs:
            _delete(run_id, store, settings, has_results=options.with_results)
    elif options.action == "note":
        store.note(options.run, options.text)
    elif options.json:
        page = store.page(options.offset, options.n)
        print(json.dumps([asdict(item) for item in page], ensure_ascii=False, indent=2))
    else:
        _print_table([_row(item) for item in store.page(options.offset, options.n)])
    return 0


def run_doctor(options: argparse.Namespace) -> int:
    """Run `doctor`; gives 1 if something stays to be repaired."""
    from llm_app.jobs.repair import faults, storage_mode
    from llm_app.jobs.store import RunStore

    settings = Settings.from_environment()
    stores = RunStore.every(settings)
    print(f"{stores[0].root}: {storage_mode(stores[0].root)}")
    n_runs = n_found = n_open = 0
    for store in stores:
        n_runs += len(store.ids())
        for found in faults(store, repair=options.repair):
            n_found += 1
            n_open += found.repair is not None and not found.is_repaired
            what = f"repaired: {found.repair}" if found.is_repaired else f"--repair: {found.repair}"
            print(one_line(f"{found.place}: {found.problem}" + (f" ({what})" if found.repair else "")))
    print(f"{n_runs} runs looked at, {n_found} findings, {n_open} to be repaired")
    return FAILURE if n_open else 0


def _delete(run_id: str, store: "RunStore", settings: Settings, *, has_results: bool) -> None:
    """Remove a run; what it offers under a name is told, and stays unless that is to go as well."""
    from llm_app.jobs.folder import RunFolder
    from llm_app.jobs.train_result import offered, withdraw

    run = RunFolder(store.root / store.read(run_id).id)  # damaged ones, too
    made = offered(run, settings)
    if has_results and not run.is_locked():  # else it is refused below, whole
        for folder in made:
            withdraw(folder)
            print(f"deleted {folder}")
    store.delete(run_id)
    print(f"deleted {run_id}")
    for folder in made if not has_results else ():
        print(f"kept {folder}")


def _row(item: Any) -> tuple[str, ...]:
    model = f"{item.model}+{item.adapter}" if item.adapter else item.model
    scores = [f"{name} {metric} {value:.4f}" for name, (metric, value) in item.scores.items()]
    more = f" +{len(scores) - 1}" if len(scores) > 1 else ""
    return (
        item.id, item.kind, item.status, _short(model), _short(",".join(item.tasks)),
        f"{item.n_done}/{'?' if item.n_total is None else item.n_total}",
        _short(scores[0], MAX_CELL + 8) + more if scores else "-", _local(item.created),
    )


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    table = [HEADER, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADER))]
    for row in table:
        print(one_line("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()))


def _short(text: str, width: int = MAX_CELL) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _local(created: str) -> str:
    try:
        moment = datetime.datetime.fromisoformat(created).replace(tzinfo=datetime.UTC)
    except ValueError:
        return "-"
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return value
