"""Reads CoNLL files strictly: a token and its tag on a line, blank lines between sentences.

Tags say where entities are in IO, BIO or BIOES (BILOU, BMES); all become BIO, by the rules of conlleval. A line that
cannot be read takes its sentence with it and is listed with its number.
Source: Tjong Kim Sang and De Meulder 2003, https://aclanthology.org/W03-0419; Ramshaw and Marcus 1995 for the tags.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.files.strict_json import lines_of
from llm_app.data.decode import decode
from llm_app.data.read import bytes_of, refuse_other_kinds
from llm_app.data.table import FileRefused, Limits
from llm_app.data.types import BadRow, Note, RowRefused, bad_row
from llm_app.errors import UserError

OUTSIDE, DOCUMENT = "O", "-DOCSTART-"
SAMPLE_LINES = 200  # that say how the file is separated, and into how many columns
# What other schemes call the middle, the end and the only token of an entity.
_SAME = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
_BLANK = " \t\r"  # not all that Unicode calls space: a token may be an ideographic one
# 科0 技1 全0: a character and its place in its word, as Weibo NER has it. Of "10" the 1 is the character.
_PLACED = re.compile(r"(\d|\D+)(\d+)")
LEAST_COUNTING = 0.99  # share of the places that count up in their word; the corpus has slips of its own


@dataclass(frozen=True)
class Columns:
    """Which column holds what, from 1; the tag stands in the last one unless it is said."""

    token: int = 1
    tag: int | None = None


@dataclass(frozen=True)
class TaggedSentence:
    """Tokens with a tag each: B-TYPE begins an entity, I-TYPE goes on with it, O is none. `line`: its first, from 1."""

    line: int
    tokens: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class TaggedFile:
    """A CoNLL file: its sentences, the lines that spoilt others, and how it was read. `digest`: SHA-256 of the file."""

    name: str
    sentences: tuple[TaggedSentence, ...]
    problems: tuple[BadRow, ...] = ()
    notes: tuple[Note, ...] = ()
    digest: str = ""

    @property
    def types(self) -> tuple[str, ...]:
        """Types of entities, the most frequent first."""
        counts = Counter(tag[2:] for sentence in self.sentences for tag in sentence.tags if tag.startswith("B-"))
        return tuple(sorted(counts, key=lambda kind: (-counts[kind], kind)))


@dataclass(frozen=True)
class _Line:
    """A token as it stands in the file, its tag taken apart: ("B", "PER"), or ("O", "")."""

    number: int
    token: str
    prefix: str
    kind: str


def read_conll(
    source: str | Path | bytes,
    name: str | None = None,
    *,
    columns: Columns | None = None,
    encoding: str | None = None,
    limits: Limits | None = None,
) -> TaggedFile:
    """The sentences of a file at a path, or of its bytes.

    Raises: UserError with one sentence if the file is gone, too large, empty, or no CoNLL file.
    """
    columns, limits = columns or Columns(), limits or Limits()
    name = name or ("data" if isinstance(source, bytes) else Path(source).name)
    data = bytes_of(source, name, limits)
    try:
        refuse_other_kinds(data)
        text, notes = decode(data, encoding)
        found = list(_sentences(text, name, columns, limits))
    except FileRefused as error:
        place = f"{name}, line {error.line:,}" if error.line else name
        raise UserError(f"{place}: {error.reason}.", param="data") from None
    sentences = [lines for lines in found if not isinstance(lines, BadRow)]
    if not found:
        raise UserError(f"{name}: there are only blank lines.", param="data")
    sentences, told = _without_places(sentences)
    notes += told + _loose(sentences)
    return TaggedFile(
        name, tuple(map(_tagged, sentences)), tuple(bad for bad in found if isinstance(bad, BadRow)), tuple(notes),
        hashlib.sha256(data).hexdigest(),
    )  # fmt: skip


def as_bio(tags: Sequence[str]) -> tuple[str, ...]:
    """Tags of any of these schemes as BIO: an entity begins where conlleval says that one does.

    Raises: RowRefused for what is no such tag.
    """
    return _bio([_parts(tag) for tag in tags])


def entities_of(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first token, the one after the last, type) of each entity in BIO tags."""
    starts = [i for i, tag in enumerate(tags) if tag.startswith("B-")]
    found = []
    for start in starts:
        end = start + 1
        while end < len(tags) and tags[end].startswith("I-"):
            end += 1
        found.append((start, end, tags[start][2:]))
    return found


def _sentences(text: str, name: str, columns: Columns, limits: Limits) -> Iterator[list[_Line] | BadRow]:
    """The lines of each sentence, or the first of them that cannot be read."""
    separator, n_columns = _form(text)
    token_at, tag_at = columns.token - 1, (columns.tag or n_columns) - 1
    if not (0 <= token_at < n_columns and 0 <= tag_at < n_columns and token_at != tag_at):
        raise FileRefused(f"there are {n_columns:,} columns; name two of them for token and tag")
    lines: list[_Line] = []
    problem: BadRow | None = None
    n_sentences = 0
    for number, line in enumerate((*lines_of(text), ""), start=1):
        content = line.strip(_BLANK)
        if content and not content.startswith(DOCUMENT):
            try:
                cells = _cells(line, separator, n_columns)
                lines.append(_Line(number, _token(cells[token_at]), *_parts(cells[tag_at])))
            except RowRefused as refused:
                problem = problem or bad_row(name, number, _with_sentence(refused))
        elif lines or problem:
            yield problem or lines
            lines, problem = [], None
            n_sentences += 1
            if n_sentences > limits.n_rows:
                raise FileRefused(f"more than {limits.n_rows:,} sentences, which is the most that is read", number)


def _with_sentence(refused: RowRefused) -> RowRefused:
    return RowRefused(f"{refused.reason}; its sentence is left out", f"{refused.reason_zh}；所在句子已略去")


def _form(text: str) -> tuple[str, int]:
    """Tab or space, and how many columns most lines have.

    Raises: FileRefused if there are fewer than two.
    """
    sample: list[str] = []
    for line in lines_of(text):
        if line.strip(_BLANK) and not line.startswith(DOCUMENT):
            sample.append(line)
            if len(sample) == SAMPLE_LINES:
                break
    separator = "\t" if 2 * sum("\t" in line for line in sample) > len(sample) else " "
    counts = Counter(len(_split(line, separator)) for line in sample)
    n_columns = counts.most_common(1)[0][0] if counts else 2
    if n_columns < 2:
        raise FileRefused("most lines have one column; a CoNLL file has a token and its tag on a line")
    return separator, n_columns


def _split(line: str, separator: str) -> list[str]:
    if separator == "\t":
        return [cell.strip(" \r") for cell in line.split("\t")]
    return re.split("[ \t]+", line.strip(_BLANK))


def _cells(line: str, separator: str, n_columns: int) -> list[str]:
    cells = _split(line, separator)
    if len(cells) != n_columns:
        raise RowRefused(
            f"{len(cells)} columns instead of {n_columns}",
            f"有 {len(cells)} 列，应为 {n_columns} 列",
        )
    return cells


def _token(cell: str) -> str:
    if not cell:
        raise RowRefused("a tag without a token", "有标签而无词元")
    return cell


def _parts(tag: str) -> tuple[str, str]:
    """("B", "PER") of B-PER; the type is empty for O alone."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    shown = tag[:40]
    prefix, _, kind = tag.partition("-")
    if prefix not in _SAME:
        raise RowRefused(
            f"the tag {shown!r} is neither O nor begins with B-, I-, E- or S-",
            f"标签 {shown!r} 既不是 O，也不以 B-、I-、E-、S- 开头",
        )
    if not kind:
        raise RowRefused(
            f"the tag {shown!r} has no type, as B-PER has",
            f"标签 {shown!r} 没有类型（应如 B-PER）",
        )
    return _SAME[prefix], kind


def _begins(parts: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether an entity begins at each: marked as such, or after none, after another type, or after an end."""
    before = [(OUTSIDE, ""), *parts]
    return [
        bool(kind) and (prefix in "BS" or earlier in "ES" or earlier_kind != kind)
        for (prefix, kind), (earlier, earlier_kind) in zip(parts, before, strict=False)
    ]


def _bio(parts: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(
        f"{'B' if is_first else 'I'}-{kind}" if kind else OUTSIDE
        for (_, kind), is_first in zip(parts, _begins(parts), strict=True)
    )


def _tagged(lines: list[_Line]) -> TaggedSentence:
    tags = _bio([(line.prefix, line.kind) for line in lines])
    return TaggedSentence(lines[0].number, tuple(line.token for line in lines), tags)


def _without_places(sentences: list[list[_Line]]) -> tuple[list[list[_Line]], list[Note]]:
    """The tokens without the digits of word segmentation, if every token of the file ends in its place in its word."""
    found, n_counting = [], 0
    for lines in sentences:
        place = -1
        for line in lines:
            parts = _PLACED.fullmatch(line.token)
            if parts is None:
                return sentences, []
            n_counting += int(parts[2]) in (0, place + 1)
            place = int(parts[2])
            found.append(parts[1])
    if not found or n_counting < LEAST_COUNTING * len(found):
        return sentences, []
    tokens = iter(found)
    plain = [[_Line(line.number, next(tokens), line.prefix, line.kind) for line in lines] for lines in sentences]
    return plain, [Note(
        "Every token ends in its place in its word (科0 技1): these digits are left out.",
        "每个词元末尾都是它在词中的位置（科0 技1）：这些数字已去掉。",
    )]  # fmt: skip


def _loose(sentences: list[list[_Line]]) -> list[Note]:
    """Tells of entities whose first token is not marked as a first one."""
    lines = [line for sentence in sentences for line in sentence]
    if any(line.kind for line in lines) and not any(line.prefix in "BS" for line in lines):
        return [Note(
            "No tag marks a beginning (B-): neighbours of one type are read as one entity.",
            "没有标签标出实体的开头（B-）：相邻的同类词元按一个实体读取。",
        )]  # fmt: skip
    loose = [
        line.number
        for sentence in sentences
        for line, is_first in zip(sentence, _begins([(line.prefix, line.kind) for line in sentence]), strict=True)
        if is_first and line.prefix in "IE"
    ]
    if not loose:
        return []
    return [Note(
        f"{len(loose):,} entities begin with I- or E-, the first on line {loose[0]:,}: read as beginning there.",
        f"有 {len(loose):,} 个实体以 I- 或 E- 开头，最早在第 {loose[0]:,} 行：按从该处开始读取。",
    )]  # fmt: skip
