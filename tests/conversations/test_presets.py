"""Sampling options under a name."""

from pathlib import Path
from typing import Any

import pytest

from llm_app.config import SamplingConfig
from llm_app.conversations.presets import BUILT_IN, PresetRefused, PresetStore, as_json, presets_of


@pytest.fixture
def store(tmp_path: Path) -> PresetStore:
    return PresetStore(tmp_path / "home" / "presets.json")


def test_a_preset_is_read_back_by_another_start(store: PresetStore) -> None:
    store.save("  My   own ", SamplingConfig(temperature=1.5, top_k=7, seed=3, stop=("x",), reply_prefix="Sure"))
    assert PresetStore(store.path).read() == {"My own": SamplingConfig(temperature=1.5, top_k=7)}, "seed is no preset"
    store.save("My own", SamplingConfig(temperature=0.1))
    assert store.read() == {"My own": SamplingConfig(temperature=0.1)}
    assert store.delete("My own") == {} == store.read()


def test_neutral_changes_nothing_and_exact_always_takes_the_likeliest() -> None:
    off = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0,
           "presence_penalty": 0.0, "frequency_penalty": 0.0, "no_repeat_ngram": 0, "n_beams": 1}  # fmt: skip
    assert as_json(BUILT_IN["neutral"]) == off
    assert BUILT_IN["exact"].is_greedy and BUILT_IN["balanced"] == SamplingConfig()


@pytest.mark.parametrize("name", ["", "  ", None, 7, ["x"], "x" * 61, "a\0b", "Balanced", "exact", "\u202e"])
def test_a_name_that_cannot_be_is_refused(store: PresetStore, name: Any) -> None:
    with pytest.raises(PresetRefused):
        store.save(name, SamplingConfig())
    assert not store.path.exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff", b"[]", b'{"presets": 7}', b"[" * 100_000])
def test_a_damaged_file_is_said_and_never_written_over(store: PresetStore, damage: bytes) -> None:
    store.path.parent.mkdir(parents=True)
    store.path.write_bytes(damage)
    for act in (store.read, lambda: store.save("x", SamplingConfig()), lambda: store.delete("x")):
        with pytest.raises(PresetRefused, match="damaged"):
            act()
    assert store.path.read_bytes() == damage


@pytest.mark.parametrize("row", [None, 7, [], {"temperature": "hot"}, {"temperature": 9}, {"n_beams": 0}])
def test_what_is_no_preset_is_left_out(row: Any) -> None:
    assert presets_of({"good": {"top_k": 5}, "bad": row}) == {"good": SamplingConfig(top_k=5)}


def test_options_that_this_version_does_not_know_are_ignored() -> None:
    assert presets_of({"x": {"top_k": 5, "mirostat": 2}}) == {"x": SamplingConfig(top_k=5)}
