"""Task definitions with their data, from the harness and our own; what cannot be had is named, all of it at once."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lm_eval.tasks._index import Kind

from eval.tasks.book import LocalTasks, local, names
from eval.tasks.glue import stsb
from eval.tasks.suites import SUITES
from eval.types import EvaluationError

OWN = {"stsb": stsb}  # tasks that the harness lacks
ADVICE = "Set PROOFBENCH_DATA to a folder laid out like the hub, or HF_DATASETS_OFFLINE=0 to fetch it."


def load_definitions(wanted: Sequence[str], data: Path | None, *, allows_code: bool) -> Mapping[str, Any]:
    """What the harness's manager loads for each name: its tasks, and the groups among them.

    Raises: EvaluationError for a name that is unknown, before any data is read; for data that is missing, with the
    names of all tasks that lack it.
    """
    manager = LocalTasks(list(wanted), data, allows_code=allows_code)
    for name in wanted:
        if name not in OWN and name not in manager.task_index:
            close = get_close_matches(name, [*OWN, *(suite.name for suite in SUITES), *names()], n=3)
            hint = f" Did you mean {', '.join(close)}?" if close else ""
            raise EvaluationError(f"There is no task {name}.{hint}")
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name in wanted:
        try:
            found[name] = manager.load(local(OWN[name](), data) if name in OWN else name)
        except IndexError:
            missing[name] = f"The data set of {name} has no samples."
        except KeyError as error:
            is_group = name not in OWN and manager.task_index[name].kind in (Kind.GROUP, Kind.TAG)
            whose = f"The data set of at least one task of {name}" if is_group else f"The data set of {name}"
            missing[name] = f"{whose} has no part {error}, which is needed."
        except (FileNotFoundError, ConnectionError, ValueError) as error:
            missing[name] = f"The data set of {name} is not on this machine. {ADVICE} ({error})"
    if len(missing) > 1:
        reasons = "\n".join(f"- {reason.replace(f' {ADVICE}', '')}" for reason in missing.values())
        names_of = ", ".join(missing)
        raise EvaluationError(f"{len(missing)} of {len(wanted)} lack data: {names_of}. {ADVICE}\n{reasons}")
    if missing:
        raise EvaluationError(*missing.values())
    return found
