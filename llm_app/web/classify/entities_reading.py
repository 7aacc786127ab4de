"""What was brought to find entities in: a text, sentences in CoNLL format, or a table with a column of texts."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from llm_app.classify.entities.sentences import Sentence, looks_tagged, sentence_of, sentences_of
from llm_app.classify.guess import guess
from llm_app.config import Settings
from llm_app.data.conll import read_conll
from llm_app.data.decode import decode
from llm_app.data.read import KINDS, bytes_of, read_file, refuse_other_kinds
from llm_app.data.table import FileRefused, Limits
from llm_app.data.types import BadRow, Note
from llm_app.errors import UserError
from llm_app.jobs import train_public
from llm_app.web.classify.desk import MAX_PASTED
from llm_app.web.failures import SentenceError

PASTED = "pasted.txt"


@dataclass(frozen=True)
class Brought:
    """Sentences, what could not be read, and what is to be told of their file.

    `types`: of the entities that are known, the most frequent first; `is_tagged`: whether any can be known.
    """

    name: str
    sentences: tuple[Sentence, ...]
    problems: tuple[BadRow, ...] = ()
    notes: tuple[Note, ...] = ()
    types: tuple[str, ...] = ()
    is_tagged: bool = False


def limits_of(settings: Settings) -> Limits:
    """How much of a file is read."""
    return train_public.FILE if settings.is_public else Limits()


def brought_of(words: object, path: object, settings: Settings) -> Brought:
    """What stands in the field, as long as anything does; else the file that lies on the server.

    Raises: UserError for what cannot be read.
    """
    if not isinstance(words, str | None) or len(words or "") > MAX_PASTED:
        raise SentenceError("wrong_value")
    name = path.name if isinstance(path, Path) else PASTED
    if isinstance(path, Path) and not (words or "").strip():
        return read_path(path, limits_of(settings))
    return read_text(words or "", name)


def read_text(text: str, name: str = PASTED) -> Brought:
    """What was typed or pasted: sentences in CoNLL format if most of its lines end in a tag, else a sentence a line.

    Raises: UserError naming the line for what is neither.
    """
    if not text.strip():
        raise SentenceError("entities_no_text")
    if looks_tagged(text):
        return _tagged(text.encode(), name, Limits())
    return Brought(name, tuple(sentences_of(text)))


def read_path(path: Path, limits: Limits) -> Brought:
    """The same of a file; of a table the column that may hold the texts.

    Raises: UserError if it cannot be read.
    """
    data = bytes_of(path, path.name, limits)
    try:
        refuse_other_kinds(data)
        text = "" if data.startswith(b"PAR1") else decode(data)[0]
    except FileRefused as error:
        place = f"{path.name}, line {error.line:,}" if error.line else path.name
        raise UserError(f"{place}: {error.reason}.", param="data") from None
    if looks_tagged(text):
        return _tagged(data, path.name, limits)
    if KINDS.get(path.suffix.lower()) == "txt":
        return read_text(text, path.name)
    return _of_table(path, limits)


def _tagged(data: bytes, name: str, limits: Limits) -> Brought:
    file = read_conll(data, name, limits=limits)
    sentences = tuple(map(sentence_of, file.sentences))
    return Brought(name, sentences, file.problems, file.notes, file.types, is_tagged=True)


def _of_table(path: Path, limits: Limits) -> Brought:
    table = read_file(path, limits=limits)
    column = guess(table).text
    texts = [(row.line, row.cells.get(column)) for row in table.rows]
    found = [sentences_of(text, line) if isinstance(text, str) else [] for line, text in texts]
    notes = [*table.notes, Note(f"The texts are those of the column {column!r}.", f"文本取自列 {column!r}。")]
    if n_empty := sum(not sentences for sentences in found):
        told = f"{n_empty:,} rows have no text in it and are left out."
        notes.append(Note(told, f"{n_empty:,} 行在该列没有文本，已略过。"))
    return Brought(path.name, tuple(itertools.chain(*found)), table.problems, tuple(notes))
