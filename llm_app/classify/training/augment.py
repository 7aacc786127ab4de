"""Another version of a text for each epoch: some words left out, or some neighbours swapped.

Source: Wei and Zou 2019 (EDA), "random deletion" and "random swap", with their share of a tenth.
"""

import random
import re
from dataclasses import replace

from llm_app.classify.scripts import UNSPACED
from llm_app.classify.types import Item

SHARE = 0.1
# A character of a script without spaces, or a run of others; each with the space behind it.
_PIECE = re.compile(rf"[{UNSPACED}]\s*|[^\s{UNSPACED}]+\s*")


def augmented(item: Item, how: str, *, seed: int, epoch: int, row: int) -> Item:
    """The item as this epoch sees it. `how`: none, delete or swap."""
    if how == "none":
        return item
    drawn = random.Random(f"{seed} {epoch} {row}")  # noqa: S311 - no secret
    changed = _without_some if how == "delete" else _with_swaps
    pair = None if item.pair is None else changed(item.pair, drawn)
    return replace(item, text=changed(item.text, drawn), pair=pair)


def _without_some(text: str, drawn: random.Random) -> str:
    """At least one word stays."""
    pieces = _PIECE.findall(text)
    kept = [piece for piece in pieces if drawn.random() >= SHARE]
    return "".join(kept or pieces[:1]).strip() or text


def _with_swaps(text: str, drawn: random.Random) -> str:
    pieces = [piece.rstrip() for piece in _PIECE.findall(text)]
    gaps = [piece[len(piece.rstrip()) :] for piece in _PIECE.findall(text)]
    place = 0
    while place + 1 < len(pieces):
        if drawn.random() < SHARE:
            pieces[place], pieces[place + 1] = pieces[place + 1], pieces[place]
            place += 1  # a word moves by one place only
        place += 1
    return "".join(piece + gap for piece, gap in zip(pieces, gaps, strict=True)).strip() or text
