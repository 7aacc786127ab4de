"""LLaMA-Factory's dataset_info.json: which data sets it describes, as specs of our own.

Source: the table of options in LLaMA-Factory's data/README.md.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from llm_app.data import formats
from llm_app.data.mix import DatasetSpec
from llm_app.data.read import read_file
from llm_app.data.types import Note
from llm_app.errors import UserError

FILE_NAME = "dataset_info.json"
HUBS = ("hf_hub_url", "ms_hub_url", "om_hub_url", "cloud_file_name", "script_url")
PICTURES = ("images", "videos", "audios")
# Its columns without `columns`; with it, what is not named is not there.
ALPACA = {"prompt": "instruction", "query": "input", "response": "output", "history": "history"}
SHAREGPT = {"messages": "conversations"}
TAGS = {
    "user_tag": "user", "assistant_tag": "assistant", "observation_tag": "tool", "function_tag": "call",
    "system_tag": "system",
}  # fmt: skip
MAX_NAME = 200  # characters: names stand in lists, in logs and on model cards
IGNORED = ("split", "folder", "num_samples", "subset")


def read_specs(path: str | Path, names: Sequence[str] = ()) -> tuple[list[DatasetSpec], list[Note]]:
    """The data sets of a dataset_info.json whose files lie beside it, or only `names`, and what was left out.

    Raises: UserError if the file is no such description, or a wanted data set is not in it or not here.
    """
    path = Path(path)
    table = read_file(path)
    entries = table.rows[0].cells if len(table.rows) == 1 and table.kind == "json" else {}
    if not entries or not all(isinstance(entry, dict) for entry in entries.values()):
        raise UserError(f"{path.name} describes no data sets: it maps names to objects with file_name.", param="data")
    too_long = next((name for name in entries if len(name) > MAX_NAME), None)
    if too_long is not None:
        told = f"a name of {len(too_long):,} characters ({too_long[:40]}…); {MAX_NAME} is the limit"
        raise UserError(f"{path.name} has {told}.", param="data")
    unknown = [name for name in names if name not in entries]
    if unknown:
        there = ", ".join(list(entries)[:20])
        raise UserError(f"{path.name} has no data set {unknown[0]!r}; it has {there}.", param="data")
    specs: list[DatasetSpec] = []
    notes: list[Note] = []
    absent: list[str] = []
    columns_of = cache(lambda file: set(read_file(file).columns))  # thousands of entries may name one file
    for name in names or entries:
        file, why = _file_of(path.parent, entries[name])
        if file is None and names:
            raise UserError(f"Data set {name} of {path.name} {why}.", param="data")
        if file is None:
            absent.append(name)
            continue
        specs.append(DatasetSpec(str(file), _mapping(partial(columns_of, file), entries[name]), name=name))
        ignored = [key for key in IGNORED if entries[name].get(key) is not None]
        if ignored:
            told = ", ".join(ignored)
            english = f"{name}: {told} is not honoured; all rows are read."
            notes.append(Note(english, f"{name}：忽略 {told}，读取全部行。"))
    if absent:
        shown = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
        notes.append(
            Note(f"{len(absent)} data sets of {path.name} are not on this machine: {shown}.",
                 f"{path.name} 中有 {len(absent)} 个数据集不在本机：{shown}。")
        )  # fmt: skip
    return specs, notes


def _file_of(folder: Path, entry: Mapping[str, Any]) -> tuple[Path | None, str]:
    """The file of an entry, or why there is none."""
    if any(isinstance(entry.get("columns"), dict) and entry["columns"].get(what) for what in PICTURES):
        return None, "has pictures, sound or films; only text is learned"
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        hub = next((entry[key] for key in HUBS if entry.get(key)), None)
        return None, f"lies on a hub ({hub}); download it first and give the file" if hub else "names no file"
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        return None, f"names a file outside its folder ({name})"
    if file.is_dir():
        return None, f"names the folder {name}; name a file of it"
    return (file, "") if file.is_file() else (None, f"names {name}, which is not here")


def _mapping(columns_of: Callable[[], set[str]], entry: Mapping[str, Any]) -> formats.Mapping | None:
    """The mapping that an entry describes; None where it describes nothing, so that it is found out."""
    columns = entry.get("columns")
    formatting = entry.get("formatting", "alpaca")
    if formatting not in ("alpaca", "sharegpt", "openai"):
        known = "alpaca, sharegpt or openai"
        raise UserError(f"{FILE_NAME}: formatting {formatting!r} is not known; it is {known}.", param="data")
    if columns is None and formatting == "alpaca" and not entry.get("ranking"):
        return None
    named = columns if isinstance(columns, dict) else ALPACA if formatting == "alpaca" else SHAREGPT
    there = columns_of()
    # It ignores optional columns that a file lacks; what an example cannot do without must be there.
    found: dict[str, Any] = {
        ours: named[theirs]
        for theirs, ours in (("system", "system"), ("tools", "tools"), ("history", "history"), ("query", "input"))
        if named.get(theirs) in there
    }
    label = named.get("kto_tag")
    tags = entry.get("tags")
    tags = tags if isinstance(tags, dict) else {}
    roles = {tags[tag]: role for tag, role in TAGS.items() if isinstance(tags.get(tag), str)}
    keys: dict[str, Any] = {"role_key": tags.get("role_tag"), "content_key": tags.get("content_tag")}
    if entry.get("ranking"):
        found |= {"chosen": named.get("chosen", "chosen"), "rejected": named.get("rejected", "rejected")}
        what = "prompt" if formatting == "alpaca" else "messages"
        found[what] = named.get(what)
        return formats.Mapping("preference", **found, **keys, roles=roles)
    if formatting == "alpaca":
        if named.get("response") is None:
            return formats.Mapping("text", text=named.get("prompt"), is_chat=False)
        return formats.Mapping("alpaca", prompt=named.get("prompt"), response=named["response"], label=label, **found)
    layout = "messages" if keys["role_key"] == "role" or formatting == "openai" else "sharegpt"
    found |= {"messages": named.get("messages", "conversations"), "label": label}
    return formats.Mapping(layout, **found, **keys, roles=roles)
