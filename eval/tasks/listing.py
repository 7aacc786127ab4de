"""What there is to choose from: every task, group and tag, found by words at once, described when it is looked at."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import datasets
import pyarrow.parquet
import yaml
from lm_eval.tasks._index import Entry, Kind

from eval.tasks.book import entries, files_by_name
from eval.tasks.loading import OWN
from eval.tasks.suites import SUITES

PACKAGED = frozenset({"json", "csv", "parquet", "text", "arrow"})  # builders of `datasets`, not data sets
Sort = Literal["task", "group", "tag"]


@dataclass(frozen=True)
class Described:
    """One of them. `n_samples`: of the part that is asked, None where nothing on this machine tells.

    `asks`: what the model is asked for, in the harness's words. `has_data`: None where only loading would tell.
    `n_missing`: tasks in it whose data is not on this machine.
    """

    name: str
    sort: Sort
    n_tasks: int = 1
    tags: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    n_shots: int | None = None
    n_samples: int | None = None
    has_data: bool | None = None
    n_missing: int = 0


@cache
def _words() -> dict[str, str]:
    """Each name with the tags under which it is found too, in lower case."""
    paths, tagged = files_by_name()
    tags: dict[Path, list[str]] = {}
    for tag, files in tagged.items():
        for file in files:
            tags.setdefault(file, []).append(tag)
    found = {}
    for name, files in paths.items():
        found[name] = " ".join([name, *(tag for file in files for tag in tags.get(file, ()))])
    found |= {name: name for name in (*tagged, *OWN) if name not in found}
    return {name: words.lower() for name, words in sorted(found.items())}


def is_listed(name: str) -> bool:
    """Whether there is a task, group or tag of this name."""
    return name in _words()


def search(text: str, *, sort: Sort | None = None) -> list[str]:
    """Names that hold every word of the text, themselves or in their tags; the closest first.

    Without words all of them, those of the suites first.
    """
    wanted = text.lower().split()
    found = [name for name, words in _words().items() if all(word in words for word in wanted)]
    if sort is not None:
        found = [name for name in found if sort_of(name) == sort]
    if not wanted:
        known = [entry.task for suite in SUITES for entry in suite.entries]
        return sorted(found, key=lambda name: name not in known)
    query = "_".join(wanted)
    return sorted(found, key=lambda name: _distance(name.lower(), query, wanted))


def _distance(name: str, query: str, wanted: list[str]) -> tuple[bool, bool, bool, int]:
    return name != query, not name.startswith(query), any(word not in name for word in wanted), len(name)


def sort_of(name: str) -> Sort:
    """Whether it is one task, a group with a score of its own, or a tag: a name for several tasks."""
    paths, tagged = files_by_name()
    if name in tagged and name not in paths:
        return "tag"
    return "group" if name in _groups() else "task"


@cache
def _groups() -> frozenset[str]:
    paths, _ = files_by_name()
    read = {file: file.read_text(encoding="utf-8") for files in paths.values() for file in files}
    return frozenset(
        name for name, files in paths.items()
        if any(line.startswith("group:") and line[6:].strip(" \"'") == name for line in read[files[0]].splitlines())
    )


def describe(name: str, data: Path | None) -> Described:
    """What is known of a task, group or tag without loading it. `data`: a folder laid out like the hub."""
    if name in OWN:
        return _described(name, "task", [OWN[name]()], data)
    index = entries([name])
    tasks = [entry.cfg or {} for entry in index.values() if entry.kind in (Kind.TASK, Kind.PY_TASK)]
    sort = sort_of(name)
    own = index.get(name)
    tags = tuple(sorted(own.tags)) if own is not None and own.kind is not Kind.TAG else ()
    return _described(name, sort, _members(name, index, tasks), data, tags)


def _members(name: str, index: Mapping[str, Entry], tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A task's own definition only: reading it may have brought others of its family along."""
    own = index.get(name)
    return [own.cfg or {}] if own is not None and own.kind in (Kind.TASK, Kind.PY_TASK) else tasks


def _described(
    name: str, sort: Sort, tasks: Iterable[Mapping[str, Any]], data: Path | None, tags: tuple[str, ...] = ()
) -> Described:
    tasks = list(tasks)
    counts = [_samples(task, data) for task in tasks]
    presence = [has for has, _ in counts]
    shots = {int(task.get("num_fewshot") or 0) for task in tasks}
    known = [n for _, n in counts if n is not None]
    return Described(
        name, sort, len(tasks), tags,
        asks=tuple(sorted({str(task["output_type"]) for task in tasks if task.get("output_type")})),
        n_shots=shots.pop() if len(shots) == 1 else None,
        n_samples=sum(known) if len(known) == len(counts) and counts else None,
        has_data=None if not tasks or None in presence else all(presence),
        n_missing=presence.count(False),
    )  # fmt: skip


def _samples(task: Mapping[str, Any], data: Path | None) -> tuple[bool | None, int | None]:
    """(whether the data is here, samples of the part that is asked)."""
    path, config = task.get("dataset_path"), task.get("dataset_name")
    if not isinstance(path, str) or path in PACKAGED or task.get("custom_dataset"):
        return None, None
    split = str(task.get("test_split") or task.get("validation_split") or "")
    config = str(config) if config else "default"
    if data is not None and (data / path).is_dir():
        return _in_folder(data / path, config, split)
    return _in_cache(path, config, split)


@cache
def _in_folder(folder: Path, config: str, split: str) -> tuple[bool | None, int | None]:
    """In a folder that says on its README which files make which part, as data repositories do."""
    files = _parts(folder).get(config)
    if files is None:
        return (False, None) if _parts(folder) else (True, None)
    name = files.get(split.partition("[")[0])
    path = folder / name if isinstance(name, str) else None
    if path is None or not path.is_file():
        return split == "" or path is None and "*" in str(name), None
    if "[" in split or path.suffix != ".parquet":
        return True, None
    return True, int(pyarrow.parquet.read_metadata(path).num_rows)


@cache
def _parts(folder: Path) -> dict[str, dict[str, Any]]:
    """Configuration -> part -> its file or files."""
    try:
        _, head, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
        card = yaml.safe_load(head)
        configs = card.get("configs", [])
        return {
            str(config["config_name"]): {str(part["split"]): part["path"] for part in config["data_files"]}
            for config in configs
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return {}


def _in_cache(path: str, config: str, split: str) -> tuple[bool, int | None]:
    """Among the data sets that were fetched before."""
    root = Path(datasets.config.HF_DATASETS_CACHE) / path.replace("/", "___") / config
    for file in sorted(root.glob("*/*/dataset_info.json")):
        try:
            parts = json.loads(file.read_text(encoding="utf-8"))["splits"]
            n = parts[split]["num_examples"] if split in parts else None
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return True, n if isinstance(n, int) else None
    return False, None
