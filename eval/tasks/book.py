"""Task definitions of lm-evaluation-harness by name, without reading all fourteen thousand of them as YAML."""

import hashlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import lm_eval.tasks
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry, TaskIndex
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.tasks.manager import TaskManager

from eval.tasks.code import check_allowed, own_code_eval

ROOT = Path(lm_eval.tasks.__file__).parent
_NAME = re.compile(r"""^["']?(?:task|group)["']?:[ \t]*["']?([^\s"'#]+)""", re.MULTILINE)
_INCLUDE = re.compile(r"""^["']?include["']?:[ \t]*["']?([^\s"'#]+)""", re.MULTILINE)
_TAGS = re.compile(r"""^["']?tag["']?:(.*(?:\n[ \t]*-.*)*)""", re.MULTILINE)
_WORD = re.compile(r"[\w.:-]*\w")


class LocalTasks(TaskManager):
    """The harness's task manager, with the named tasks only, and data sets taken from a folder where it has them."""

    def __init__(self, names: list[str], data: Path | None, *, allows_code: bool = False) -> None:
        super().__init__(include_defaults=False)
        self._index = entries(names)
        check_allowed(self._index.values(), is_allowed=allows_code)
        self._factory = _LocalFactory(data)

    def load(self, specs: Any) -> Any:
        """As the harness's own, with `code_eval` replaced."""
        with own_code_eval():
            return super().load(specs)


class _LocalFactory(TaskFactory):
    def __init__(self, data: Path | None) -> None:
        super().__init__()
        self._data = data

    def _load_full_config(self, entry: Entry, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        return local(super()._load_full_config(entry, overrides), self._data)


def local(config: dict[str, Any], data: Path | None) -> dict[str, Any]:
    """A task's configuration with its data set looked up under a folder laid out like the hub."""
    path = config.get("dataset_path")
    if data is None or not isinstance(path, str) or not (data / path).is_dir():
        return config
    folder = (data / path).absolute()
    # By itself `datasets` keeps the rows of a folder under the folder's last name, and serves them for any other
    # folder of that name, or for this one after its files have changed.
    options = config.get("dataset_kwargs")
    cached = Path(datasets.config.HF_DATASETS_CACHE) / "folders" / _digest(folder)
    metadata = {**(config.get("metadata") or {}), "hub": {"dataset_path": path, "dataset_kwargs": options}}
    return config | {
        "dataset_path": str(folder),
        "dataset_kwargs": {**(options or {}), "cache_dir": str(cached)},
        "metadata": metadata,
    }


def named(value: Any) -> Any:
    """The value with every function in it as its name: written as they are, they show an address in memory."""
    if isinstance(value, dict):
        return {key: named(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [named(item) for item in value]
    return f"{value.__module__}.{value.__qualname__}" if inspect.isfunction(value) else value


def _digest(folder: Path) -> str:
    """Changes with the place, the names, the sizes and the times of all files."""
    lines = [str(folder)]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        lines.append(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def entries(names: list[str]) -> dict[str, Entry]:
    """Index entries of tasks, groups and tags, with all that they consist of; a name that is unknown is left out."""
    index: dict[str, Entry] = {}
    read: set[Path] = set()
    wanted, seen = list(names), set()
    paths, tagged = files_by_name()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        for path in [*paths.get(name, ()), *tagged.get(name, ())]:
            if path in read:
                continue
            read.add(path)
            config = load_yaml(path, resolve_func=False, recursive=True)
            TaskIndex.process_cfg(config, path, index)
            wanted += _children(config)
    return index


def _children(config: dict[str, Any]) -> list[str]:
    members = config.get("task")
    if not isinstance(members, list):
        return []
    found = []
    for member in members:
        if isinstance(member, str):
            found.append(member)
        elif isinstance(member, dict):
            found += [name for key in ("task", "group") if isinstance(name := member.get(key), str)]
            found += _children(member)
    return found


@cache
def files_by_name() -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Files by the task or group they define, and by the tags they carry, themselves or in what they include."""
    paths: dict[str, list[Path]] = {}
    tagged: dict[str, list[Path]] = {}
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("**/*.yaml"))}
    for path, text in texts.items():
        for name in _NAME.findall(text):
            paths.setdefault(name, []).append(path)
        for tag in _tags(path, texts, 4):
            tagged.setdefault(tag, []).append(path)
    return paths, tagged


def _tags(path: Path, texts: dict[Path, str], n_levels: int) -> list[str]:
    text = texts.get(path, "")
    own = _TAGS.search(text)
    if own:
        return _WORD.findall(own[1].replace("- ", " "))
    included = _INCLUDE.search(text)
    if included is None or n_levels == 0:
        return []
    return _tags((path.parent / included[1]).resolve(), texts, n_levels - 1)


def names() -> list[str]:
    """All tasks, groups and tags."""
    paths, tagged = files_by_name()
    return sorted({*paths, *tagged})
