"""What the source itself must not contain: rows B12, B13, A5 and A13 of the threats."""

import ast
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_app.engine.catalog import _MODEL_ON_HUB

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted([ROOT / "app.py", *(ROOT / "llm_app").rglob("*.py"), *(ROOT / "eval").rglob("*.py")])

FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "evaluate.load",
    "joblib.load", "numpy.load", "np.load", "pandas.read_pickle",
}
FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Place, dotted name and node of each call in the program."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", ast.unparse(node.func), node


def keywords(node: ast.Call) -> dict[str, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg}


def test_B12_A13_nothing_turns_text_into_code():
    assert [place for place, name, _ in calls() if name in FORBIDDEN_CALLS] == []


def test_B12_no_module_that_unpickles_is_imported():
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [str(path) for name in names if name.split(".")[0] in FORBIDDEN_MODULES]
    assert found == []


def test_B13_child_processes_start_from_a_list_without_a_shell():
    wrong = []
    for place, name, node in calls():
        if name.startswith("subprocess."):
            is_text = bool(node.args) and isinstance(node.args[0], ast.Constant | ast.JoinedStr)
            if is_text or keywords(node).get("shell", "False") != "False":
                wrong.append(place)
    assert wrong == []


def test_A5_models_load_without_their_code_from_safetensors_only():
    wrong = []
    for place, name, node in calls():
        given = keywords(node)
        if given.get("trust_remote_code", "False") != "False":
            wrong.append(place)
        if name.endswith("Model.from_pretrained") or "AutoModel" in name and name.endswith("from_pretrained"):
            wrong += [place] if given.get("use_safetensors") != "True" else []
        if name == "torch.load":
            wrong.append(place)
    assert wrong == []


def test_A5_the_package_that_fetches_kernels_from_the_hub_is_absent():
    assert importlib.util.find_spec("kernels") is None
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-models.txt"):
        assert not re.search(r"^kernels\b", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-models.txt"])
def test_every_requirement_is_pinned(name: str):
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "-r ")):
            assert re.fullmatch(r"[a-z0-9-]+(\[[a-z]+\])?==[0-9][0-9a-z.]*", line), line


def test_the_space_runs_the_pinned_gradio():
    front = (ROOT / "README.md").read_text(encoding="utf-8").split("---")[1]
    pinned = re.search(r"^gradio==(\S+)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned and f"sdk_version: {pinned[1]}\n" in front
    # A repository without a commit would follow whatever is pushed there.
    name, commit = _MODEL_ON_HUB
    assert re.search(rf"preload_from_hub:\n  - {name} \S+ {commit}\n", front)


def test_every_package_that_the_program_imports_is_pinned_by_itself():
    """A package that came only along with another one could change under us."""
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
    packages = importlib.metadata.packages_distributions()
    wrong = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {name.split(".")[0] for name in names} - {"llm_app", "eval"}:
                found = {name.lower().replace("_", "-") for name in packages.get(top, [])}
                if found and not found & pinned:
                    wrong.add(f"{top} in {path.name}")
    assert wrong == set()
