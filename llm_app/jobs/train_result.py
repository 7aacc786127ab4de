"""What comes of a training run, put where it is used: among those of this machine, or in a folder asked for.

It is a folder of its own there, whose files are links to those of the run: deleting either leaves the other whole.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs.folder import RunFolder, told, write_whole
from llm_app.training.new_path import new_path

# What LoRA, what full training and what the training of a classifier leaves in the folder of the run.
ADAPTER, MODEL, CLASSIFIER = "adapter", "model", "classifier"
TAGGER = "tagger"  # a classifier of words, by which its name is made up
NOTE = "proofbench.json"  # of which base and, in a copy, of which run it is
_NAME = re.compile(r"\w[\w. -]{0,63}")


def place_of(method: str) -> str:
    """The folder in the run's folder that a method leaves; for all classifiers, also those of words, `classifier`."""
    return {"full": MODEL, CLASSIFIER: CLASSIFIER, TAGGER: CLASSIFIER}.get(method, ADAPTER)


def weights_digest(folder: Path) -> str:
    """SHA-256 over the weights of a result: the same for the same numbers."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def shelf_of(place: str, settings: Settings) -> Path:
    """The folder from which results of this kind are offered."""
    return {MODEL: settings.models, CLASSIFIER: settings.classifiers}.get(place, settings.adapters)


def target_of(output: Path, place: str) -> Path:
    """Where a folder that was asked for gets the result: below it, but a classifier is the folder itself."""
    return output if place == CLASSIFIER else output / place


def check_name(name: str, method: str, settings: Settings) -> None:
    """Raises: UserError if the name will not do for a folder, or is taken."""
    if not _NAME.fullmatch(name):
        raise UserError(
            "A name has at most 64 letters, digits, spaces, points and hyphens.", param="name",
            message_zh="名称最多 64 个字符，只能包含字母、数字、空格、点和连字符。",
        )
    place = place_of(method)
    if (shelf_of(place, settings) / name).exists():
        raise UserError(
            f"There is a result called {name} already ({place}). Choose another name.", param="name",
            message_zh=f"已有名为 {name} 的结果，请换一个名称。",
        )


def free_name(model: str, method: str, settings: Settings) -> str:
    """A name that says what it is of, and is not taken."""
    shelf = shelf_of(place_of(method), settings)
    stem = "-".join([*re.findall(r"\w+", Path(model).name.removesuffix(".gguf"))[:4], method])[:56]
    number = 1
    while (shelf / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def check_output(output: Path, method: str) -> None:
    """Raises: UserError if something lies already where the result is to go."""
    target = target_of(output, place_of(method))
    if _is_taken(target):
        raise UserError(f"{target} exists already. Choose another folder, or delete it.", param="output")


def put(source: Path, target: Path, run: str, *, earlier: str | None = None) -> bool:
    """Put a result of this run there, in place of one of the same run or of `earlier`; False if another's lies there.

    Raises: UserError if it cannot be written.
    """
    if _is_taken(target) and run_of(target) not in (run, earlier or run):
        return False
    with new_path(target, replaces=True) as partial:
        shutil.copytree(source, partial, copy_function=_link)
        note = json.loads((partial / NOTE).read_text(encoding="utf-8"))
        write_whole(partial / NOTE, json.dumps({**note, "run": run}, indent=2, ensure_ascii=False) + "\n")
    return True


def _is_taken(target: Path) -> bool:
    """Whether something stands there; an empty folder is nothing."""
    return target.exists() and not (target.is_dir() and not any(target.iterdir()))


def run_of(folder: Path) -> str | None:
    """The run that this result is of; None if it does not say."""
    try:
        return str(json.loads((folder / NOTE).read_text(encoding="utf-8"))["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def offered(run: RunFolder, settings: Settings) -> list[Path]:
    """What this run put among the adapters and models of this machine; not what a person copied from there."""
    names = set[Any]()
    with contextlib.suppress(UserError):  # a damaged log names nothing
        names = {event.get("name") for event in run.events() if event.get("type") == "written"}
    shelves = [(shelf_of(place, settings), place) for place in (ADAPTER, MODEL, CLASSIFIER)]
    return sorted(
        folder
        for shelf, place in shelves if shelf.is_dir()
        for folder in shelf.iterdir() if run_of(folder) == run.id
        # Under another name it is the run's as long as its files are: a search names what its trials found.
        if folder.name in names or _is_linked(folder, run.path / place)
    )


def _is_linked(folder: Path, source: Path) -> bool:
    for path in folder.glob("*.safetensors"):
        with contextlib.suppress(OSError):
            return path.samefile(source / path.name)
    return False


def withdraw(folder: Path) -> None:
    """Delete what stands under a name.

    Raises: UserError if it cannot be deleted.
    """
    try:
        # First out of the list, whole: a kill in the middle leaves no half of it under its name.
        trash = folder.rename(folder.with_name(f".deleted-{folder.name}-{secrets.token_hex(4)}"))
        shutil.rmtree(trash)
    except OSError as error:
        raise told(error, folder) from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
