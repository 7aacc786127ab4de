"""The data set that ships with the project is what its README says."""

import itertools
import json
import re
from pathlib import Path

import llm_app.data

FOLDER = Path(llm_app.data.__file__).parent / "examples"
ENGLISH = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01]\d|2[0-3]):[0-5]\d \| ([^|]+) \| ([^|]+)")
CHINESE = re.compile(r"(周[一二三四五六日]) ([01]\d|2[0-3]):[0-5]\d \| ([^|]+) \| ([^|]+)")


def pairs() -> list[tuple[str, str]]:
    """Note and calendar line."""
    lines = (FOLDER / "calendar.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line)["messages"] for line in lines]
    assert all([turn["role"] for turn in row] == ["user", "assistant"] for row in rows)
    return [(row[0]["content"], row[1]["content"]) for row in rows]


def test_the_readme_counts_its_rows_right() -> None:
    english = sum(note.startswith("Calendar: ") for note, _ in pairs())
    chinese = sum(note.startswith("日历：") for note, _ in pairs())
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{english + chinese} examples, {english} English and {chinese} Chinese" in text


def test_every_answer_has_the_form_and_takes_who_and_where_from_the_note() -> None:
    for note, line in pairs():
        found = (ENGLISH if note.startswith("Calendar") else CHINESE).fullmatch(line)
        assert found, line
        day, _, who, place = found.groups()
        assert who in note and place in note, line
        assert day in note or day.replace("周", "星期") in note, line


def test_no_name_and_no_place_comes_twice() -> None:
    for part in (1, 2):
        values = [line.split(" | ")[part] for _, line in pairs()]
        assert len(set(values)) == len(values)


def test_no_two_notes_are_near_duplicates() -> None:
    grams = []
    for note, _ in pairs():
        text = re.split("[:：]", note, maxsplit=1)[1].strip()
        words = text.split() if note.startswith("Calendar") else list(text)
        grams.append({tuple(words[at : at + 3]) for at in range(len(words) - 2)})
    shares = (len(one & other) / max(1, len(one | other)) for one, other in itertools.combinations(grams, 2))
    assert max(shares) <= 0.25
