"""The plan of the code, held by a test: who imports whom, how long things are, what the README says is on disk."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

WORDS = {"config", "errors", "messages", "logs", "options"}
CORE = WORDS | {"engine", "remote", "training", "data", "eval"}
USES = CORE | {"chat", "classify", "conversations", "jobs", "learn", "services", "votes"}

# Room -> what it may import of this project, besides itself. A new room gets a line here.
ARROWS = {
    "config": {"errors", "options"},
    "options": {"errors"},
    "errors": set(),
    "messages": set(),
    "logs": set(),
    "flags": {"options"},
    "spoken": set(),
    "eval": set(),
    "key_file": {"errors"},
    "remote": WORDS | {"key_file"},
    "engine": WORDS | {"remote"},
    "data": WORDS | {"eval"},
    "training": WORDS | {"data", "engine"},
    "chat": CORE,
    "classify": CORE,
    "conversations": CORE,
    "jobs": CORE | {"classify"},
    "learn": CORE,
    "services": CORE | {"jobs"},
    "votes": WORDS | {"eval", "jobs"},
    "web": USES,
    "api": USES | {"key_file"},
    "terminal": USES,
    "benchmark_cli": USES | {"flags", "spoken", "check_cli", "compare_cli"},
    "check_cli": USES,
    "classify_cli": USES | {
        "data_flags", "flags", "spoken", "classify_entities_cli", "classify_glue_cli", "classify_search_cli",
        "classify_text_cli", "classify_topics_cli", "classify_train_cli",
    },
    "classify_entities_cli": USES | {
        "data_flags", "flags", "spoken", "classify_text_cli", "classify_topics_cli", "classify_train_cli", "train_cli",
    },
    "classify_glue_cli": USES | {"flags", "spoken", "classify_train_cli", "train_cli"},
    "classify_search_cli": USES | {"flags", "spoken", "search_cli", "classify_train_cli"},
    "classify_text_cli": USES | {"spoken"},
    "classify_topics_cli": USES | {"data_flags", "flags", "spoken", "classify_text_cli"},
    "classify_train_cli": USES | {"data_flags", "flags", "spoken", "train_cli"},
    "compare_cli": USES,
    "data_flags": WORDS | {"data", "votes"},
    "export_cli": USES | {"flags", "perplexity_cli"},
    "helped_cli": USES | {"flags", "spoken", "compare_cli"},
    "report_cli": USES,
    "search_cli": USES | {"flags", "spoken", "data_flags"},
    "train_cli": USES | {"flags", "spoken", "data_flags"},
    "perplexity_cli": USES | {"flags"},
    "ruler_cli": USES | {"flags", "perplexity_cli"},
    "runs_cli": USES | {"logs"},
    "http_server": set(),
    "serve": WORDS | {"engine", "services", "web", "api", "http_server"},
    "cli": USES | {
        "flags", "logs", "terminal", "benchmark_cli", "classify_cli", "compare_cli", "export_cli", "helped_cli",
        "perplexity_cli", "report_cli", "ruler_cli", "runs_cli", "search_cli", "serve", "train_cli",
    },
    "__main__": {"cli"},
    "app": {"cli"},
}

MODEL_ROOMS = {"engine", "training", "classify", "learn"}
# Library -> the rooms that may know it.
HOMES = {
    "torch": MODEL_ROOMS,
    "transformers": MODEL_ROOMS,
    "peft": MODEL_ROOMS,
    "bitsandbytes": MODEL_ROOMS,
    "accelerate": {"engine", "training"},
    "numba": {"engine"},
    "llvmlite": {"engine"},
    "trl": {"training"},
    "optuna": {"training"},
    "tensorboard": {"training"},
    "trackio": {"training"},
    "gradio": {"web"},
    "fastapi": {"api"},
    "starlette": {"api", "web"},
    "httpx": {"remote"},
    "uvicorn": {"http_server"},
}

# Half a second and more that a start does not need: imported in the functions that use them. Whole files that only a
# function imports are let be.
LATE = {"sklearn", "peft", "bitsandbytes", "optuna"}

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 300, 60, 8
# "path" or "path:function", where a longer one is honestly clearer.
LONGER: set[str] = set()


@cache
def project_files() -> list[str]:
    """What git keeps or would keep."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in set(names) if (ROOT / name).is_file())


def program_files() -> list[str]:
    """The Python files of the program itself."""
    return [name for name in project_files() if name.endswith(".py") and (name == "app.py" or room_of(name) in ARROWS)]


def room_of(name: str) -> str:
    """engine of llm_app/engine/host.py, chat of llm_app/chat.py, eval of eval/runner.py, app of app.py."""
    parts = Path(name).with_suffix("").parts
    return parts[1] if parts[0] == "llm_app" and len(parts) > 1 else parts[0]


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), filename=name)


def imports_of(name: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each import, relative ones resolved; `from a import b` gives a.b."""
    package = Path(name).parent.parts
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, node.module] if node.module else base)
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def functions_of(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_libraries_that_a_start_does_not_need_are_imported_where_they_are_used() -> None:
    early = [
        f"{name}:{node.lineno}" for name in program_files() for node in tree_of(name).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and LATE & {module.split(".")[0] for module in (
            [getattr(node, "module", None) or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )}
    ]  # fmt: skip
    assert not early


def test_every_room_has_a_line_in_the_plan():
    files = [name for name in project_files() if name.startswith(("llm_app/", "eval/")) and name.endswith(".py")]
    rooms = {room_of(name) for name in files}
    assert rooms - ARROWS.keys() - {"__init__"} == set()


def test_rooms_import_only_what_the_plan_allows():
    wrong = []
    for name in program_files():
        room = room_of(name)
        for line, imported in imports_of(name):
            parts = imported.split(".")
            if parts[0] not in ("llm_app", "eval") or imported in ("llm_app", "llm_app.__version__"):
                continue
            target = "eval" if parts[0] == "eval" else parts[1]
            if target != room and target not in ARROWS[room]:
                wrong.append(f"{name}:{line} {room} -> {target}")
    assert wrong == []


def test_libraries_stay_in_the_rooms_that_know_them():
    wrong = [
        f"{name}:{line} {imported}"
        for name in program_files()
        for line, imported in imports_of(name)
        if room_of(name) not in HOMES.get(imported.split(".")[0], {room_of(name)})
    ]
    assert wrong == []


def test_options_errors_and_messages_need_no_third_party_package():
    import sys

    for room in WORDS | {"flags", "cli"}:
        for line, imported in imports_of(f"llm_app/{room}.py"):
            top = imported.split(".")[0]
            assert top == "llm_app" or top in sys.stdlib_module_names, f"llm_app/{room}.py:{line} {imported}"


def test_eval_is_imported_by_name_of_its_parts_never_over_the_builtin():
    wrong = [
        f"{name}:{node.lineno}"
        for name in project_files() if name.endswith(".py")
        for node in ast.walk(tree_of(name)) if isinstance(node, ast.Import)
        for alias in node.names if alias.name.split(".")[0] == "eval" and alias.asname is None
    ]
    assert wrong == []


def test_files_stay_short():
    long = {}
    for name in project_files():
        if name.endswith(".py") and name not in LONGER:
            n_lines = len((ROOT / name).read_text(encoding="utf-8").splitlines())
            if n_lines > MAX_FILE_LINES:
                long[name] = n_lines
    assert long == {}


def test_functions_stay_short_and_take_few_parameters():
    wrong = []
    for name in project_files():
        if not name.endswith(".py"):
            continue
        for function in functions_of(name):
            if f"{name}:{function.name}" in LONGER:
                continue
            arguments = function.args
            names = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            n_parameters = len(names) - (names[:1] in (["self"], ["cls"]))
            n_lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if n_lines > MAX_FUNCTION_LINES or n_parameters > MAX_PARAMETERS:
                wrong.append(f"{name}:{function.lineno} {function.name} ({n_lines} lines, {n_parameters} parameters)")
    assert wrong == []


def test_the_list_of_exceptions_names_only_what_exists():
    for entry in LONGER:
        name, _, function = entry.partition(":")
        assert (ROOT / name).is_file(), entry
        assert not function or function in {f.name for f in functions_of(name)}, entry


def listed_in(readme: str) -> dict[str, str]:
    """Path -> description of each line of the tree: two spaces a level, folders end in a slash."""
    block = re.search(r"```tree\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), re.DOTALL)
    assert block, f"{readme} has no tree"
    entries: dict[str, str] = {}
    above: list[str] = []
    for line in block[1].splitlines():
        name, _, description = line.strip().partition("  ")
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth:] = [name]
        entries["".join(above)] = description.strip()
    return entries


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_tree_in_the_readme_is_the_tree_on_disk(readme: str):
    """Every file of the top two levels has a line, and every folder below them that is no part of a listed one."""
    entries = listed_in(readme)
    missing = [name for name in entries if not (ROOT / name).exists()]
    unlisted = [
        name for name in project_files()
        if Path(name).name != "__init__.py" and name not in entries
        and not any(f"{folder}/" in entries and len(folder.parts) > 1 for folder in Path(name).parents)
    ]
    assert (missing, unlisted) == ([], [])
    assert all(description for description in entries.values())


def test_no_path_of_a_developers_machine_stands_in_the_project():
    pattern = re.compile(r"(?<![\w.])/(work|farm|Users|home/(?!user\b)\w+)/")
    wrong = []
    for name in project_files():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [f"{name}: {found[0]}" for found in pattern.finditer(text)]
    assert wrong == []
