"""Items with what they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from llm_app.classify.types import Item, Truth


@dataclass(frozen=True)
class Examples:
    """As many items as truths, side by side."""

    items: Sequence[Item]
    truths: Sequence[Truth]

    def __len__(self) -> int:
        return len(self.items)
