"""A person's own data as tasks: CSV, TSV and JSONL files, one for each way of asking."""

import json
from dataclasses import dataclass

from playwright.sync_api import expect

from tests.browser.walk.visitor import Visitor

SUMS = [{"question": f"{n} + {n} =", "answer": str(2 * n)} for n in range(1, 5)]
CHOICES = [
    {"question": f"{n} + {n} =", "choices": [str(2 * n), str(2 * n + 1)], "answer": str(2 * n)} for n in range(1, 5)
]  # fmt: skip
LABELS = [("it was good", "pos"), ("it was bad", "neg"), ("very good", "pos"), ("so bad", "neg")]
PAIRS = [("guten Tag", "good day"), ("gute Nacht", "good night"), ("guten Morgen", "good morning")]
TEXTS = ("The quick brown fox jumps over the lazy dog.", "How are you today?", "Hello world.")


@dataclass(frozen=True)
class Table:
    """A file, and how it is asked: the kind, and what fills its columns."""

    name: str
    text: str
    kind: str
    roles: tuple[str, ...]


def lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


TABLES = (
    Table("sums.jsonl", lines([*SUMS]), "exact_match", ("question", "answer")),
    Table("quiz.jsonl", lines([*CHOICES]), "multiple_choice", ("question", "choices", "answer")),
    Table("moods.csv", "text,label\n" + "".join(f"{a},{b}\n" for a, b in LABELS), "classification", ("text", "label")),
    Table("german.tsv", "source\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in PAIRS), "generation",
          ("source", "target")),
    Table("prose.csv", "text\n" + "".join(f'"{words}"\n' for words in TEXTS), "perplexity", ("text",)),
)  # fmt: skip
NAMES = tuple(table.name.partition(".")[0] for table in TABLES)


def keep_own_tasks(visitor: Visitor) -> None:
    """Upload each table, see how it will be asked, keep it: it is chosen for the next run."""
    visitor.press(visitor.button("own_data"))
    for table in TABLES:
        visitor.page.set_input_files("#own-file input[type=file]", files=[
            {"name": table.name, "mimeType": "text/plain", "buffer": table.text.encode()}
        ])  # fmt: skip
        visitor.sees("#own-head", visitor.like("own_read", data=table.name))
        expect(visitor.page.locator("#own-kind").get_by_label(visitor.word(f"kind_{table.kind}"))).to_be_checked()
        for role in table.roles:
            visitor.sees(f"#own-{role}", visitor.word(f"role_{role}"))
        visitor.sees("#own-trial", visitor.word("own_first"), visitor.like("own_usable"))
        visitor.stage(f"benchmark-3-{table.kind.replace('_', '-')}")
        visitor.press("#own-keep")
        name = table.name.partition(".")[0]
        visitor.sees("#own-notice", visitor.word("own_made", task=name))
        visitor.sees(visitor.page.locator("#chosen label").last, name)
    kept = [words.partition(" · ")[0] for words in visitor.offered("#own-kept")]
    assert kept == sorted(NAMES)
    visitor.press(visitor.button("own_close"))


def choose_own_tasks(visitor: Visitor) -> None:
    """Those that are kept, added to what is chosen."""
    visitor.press(visitor.button("own_data"))
    for words in visitor.offered("#own-kept"):
        visitor.choose("#own-kept", words)
        visitor.press("#own-use")
        visitor.sees("#own-notice", visitor.word("own_chosen", task=words.partition(" · ")[0]))
    visitor.press(visitor.button("own_close"))
    visitor.sees("#chosen", *NAMES)
