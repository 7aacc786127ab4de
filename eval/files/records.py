"""Records of separated text, each with the line that it begins on."""

import csv
import re
from collections.abc import Iterator

CELL_CHARACTERS = 10_000_000
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


class Broken(Exception):
    """What follows this line cannot be told apart."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


def records(
    text: str, separator: str, *, is_quoted: bool = True, cell_characters: int = CELL_CHARACTERS
) -> Iterator[tuple[int, list[str]]]:
    """(line, its cells as text) of each record; a cell in quotes may span lines.

    Raises: Broken for a quote that is not closed or stands where none may, or a cell that is too long.
    """
    # The limit holds for the whole process; it is only ever raised, and the file's own limit comes first.
    csv.field_size_limit(max(csv.field_size_limit(), cell_characters))
    lines = (found[0] for found in _LINE.finditer(text))  # line ends are left as they are
    if is_quoted:
        reader = csv.reader(lines, delimiter=separator, strict=True)
    else:
        reader = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    line = 1
    try:
        for cells in reader:
            first, line = line, reader.line_num + 1
            yield first, cells
    except csv.Error as error:
        why = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
        raise Broken(f"{why}; within quotes write a quote as two", line) from None
