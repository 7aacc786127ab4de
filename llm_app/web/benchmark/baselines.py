"""What a run can be compared with: the likeliest baseline, and why the other runs cannot be one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.compare import Run as Planned
from eval.compare.comparable import differing_conditions, differing_plans
from llm_app.config import PRECISIONS
from llm_app.errors import UserError
from llm_app.jobs.compare import planned_run
from llm_app.jobs.store import Run, RunStore
from llm_app.options import Text
from llm_app.web.runs.views import when
from llm_app.web.text import STRINGS

N_OFFERED = 200  # newest runs that a run can be compared with


@dataclass(frozen=True)
class Other:
    """A run that has tasks of the one that is shown. `why_not`: why none of them can be compared; empty where one can.

    `likeness`: the lower, the likelier a person wants these two side by side.
    """

    run: Run
    why_not: tuple[Text, ...]
    likeness: int = 0


def offered(store: RunStore) -> list[Run]:
    """Benchmarks that have answers, newest first."""
    return [run for run in store.page(0, N_OFFERED) if run.kind == "benchmark" and run.n_done > 0]


def others_of(run: Run, runs: Sequence[Run], store: RunStore) -> list[Other]:
    """The runs that share a task with this one: those that can be compared with it first, then newest first.

    Only what the runs were to ask is looked at; what they were answered is when they are compared.
    """
    mine, found = _planned(run, store), []
    if mine is None:
        return []
    for other in runs:
        theirs = None if other.id == run.id else _planned(other, store)
        if other.id == run.id or (theirs is None and not set(other.tasks) & set(run.tasks)):
            continue
        if theirs is None:
            found.append(Other(other, (STRINGS["result_earlier_version"],)))
        elif mine.tasks.keys() & theirs.tasks.keys():
            found.append(Other(other, _why_not(mine, theirs), _likeness(run, mine, other, theirs)))
    return sorted(found, key=lambda one: bool(one.why_not))


def likely_pair(run: Run, others: Sequence[Other]) -> tuple[str, str] | None:
    """(baseline, compared with it), one of which is the run that is shown; None where nothing can be compared."""
    other = min((one for one in others if not one.why_not), key=lambda one: one.likeness, default=None)
    if other is None:
        return None
    return (run.id, other.run.id) if _is_before(run, other.run) else (other.run.id, run.id)


def partner_of(run: Run, others: Sequence[Other]) -> Run | None:
    """The newest run of the same base and tasks, one with an adapter and one without; better one that is comparable.

    Where none is, the newest of them: what differs is said when they are compared.
    """
    found = [
        one.run for one in others
        if (one.run.model, one.run.precision, set(one.run.tasks)) == (run.model, run.precision, set(run.tasks))
        and bool(one.run.adapter) != bool(run.adapter)
    ]  # fmt: skip
    return found[0] if found else None


def is_asked_alike(one: Mapping[str, Any], other: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether two runs were asked the same in these tasks and groups.

    Of each task its data and definition, version, shots and number of samples; of the runs the seed of the examples
    and the chat template. `one` and `other` are what spec.json says.
    """
    def conditions(spec: Mapping[str, Any]) -> tuple[object, ...]:
        uses_template = spec["options"]["uses_chat_template"]
        return spec["options"]["seed"], uses_template, spec["model"]["template"] if uses_template else None

    def asked(spec: Mapping[str, Any], name: str) -> object:
        group = spec.get("groups", {}).get(name)
        return [group, *(spec["tasks"].get(task) for task in (group["tasks"] if group else [name]))]

    return conditions(one) == conditions(other) and all(asked(one, name) == asked(other, name) for name in names)


def title_of(run: Run) -> str:
    """Model, adapter, precision."""
    model = f"{_last(run.model)} + {_last(run.adapter)}" if run.adapter else _last(run.model)
    return f"{model} · {run.precision}"


def title(run: Run) -> str:
    """A run in a menu: when, what, tasks, and the end of its id."""
    tasks = ", ".join(_last(task).removesuffix(".yaml") for task in run.tasks[:3])
    tasks += " …" if len(run.tasks) > 3 else ""
    return f"{when(run.created)[5:]} · {title_of(run)} · {tasks} · {run.id[-4:]}"


def _last(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or name


def _planned(run: Run, store: RunStore) -> Planned | None:
    """None for one that was deleted meanwhile, or is of an earlier version."""
    try:
        return planned_run(store.open(run.id).spec())
    except (UserError, KeyError, TypeError):
        return None


def _why_not(mine: Planned, theirs: Planned) -> tuple[Text, ...]:
    conditions = differing_conditions(mine, theirs)
    if conditions:
        return tuple(conditions)
    plans = [differing_plans(task, theirs.tasks[name]) for name, task in mine.tasks.items() if name in theirs.tasks]
    return () if any(not reasons for reasons in plans) else tuple(plans[0])


def _likeness(run: Run, mine: Planned, other: Run, theirs: Planned) -> int:
    """An adapter and its base, then two precisions, then other adapters and models, last one and the same; of each
    kind first those with the same tasks."""
    has_same_base = mine.identity["weights"] == theirs.identity["weights"]
    is_one_precision = run.precision == other.precision
    if mine.identity == theirs.identity:
        kind = 4
    elif has_same_base and is_one_precision and bool(run.adapter) != bool(other.adapter):
        kind = 0
    elif has_same_base and not is_one_precision and mine.identity["adapter"] == theirs.identity["adapter"]:
        kind = 1
    else:
        kind = 2 if has_same_base else 3
    return 2 * kind + (mine.tasks.keys() != theirs.tasks.keys())


def _is_before(run: Run, other: Run) -> bool:
    """Whether this one is the baseline of the two: the base of an adapter, the higher precision, the older one."""
    if bool(run.adapter) != bool(other.adapter):
        return not run.adapter
    ranks = [PRECISIONS.index(one.precision) if one.precision in PRECISIONS else 0 for one in (run, other)]
    return ranks[0] < ranks[1] if ranks[0] != ranks[1] else run.created < other.created
