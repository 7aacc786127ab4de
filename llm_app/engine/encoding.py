"""Text as tokens, exactly as in lm-evaluation-harness's own backend for transformers.

A space on the wrong side of a boundary changes every score.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from llm_app.errors import UserError


class Encoding:
    """A tokenizer as evaluations use it. `prefix_token`: what stands before a text that nothing else stands before."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if prefix is None:
            raise UserError("This model's tokenizer has neither a first nor a last token; it cannot be scored.")
        self.prefix_token = int(prefix)
        self._prefix_text = str(tokenizer.decode(self.prefix_token))

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[list[int], list[int]]]:
        """Token ids of contexts and continuations. Spaces at the end of a context go to the continuation."""
        moved = []
        for context, continuation in pairs:
            stem = context.rstrip()
            moved.append((stem, context[len(stem) :] + continuation) if context else ("", continuation))
        whole = self.text_ids([context + continuation for context, continuation in moved])
        # Choices share their context; it is encoded once.
        distinct = list(dict.fromkeys(context for context, _ in moved))
        contexts = dict(zip(distinct, self.text_ids(distinct), strict=True))
        for (context, continuation), ids, original in zip(moved, whole, pairs, strict=True):
            if original[0] == "":
                after = self.plain_ids(continuation)
                # A text that begins with the prefix token brings its own context.
                yield (after[:1], after[1:]) if after[:1] == [self.prefix_token] else ([self.prefix_token], after)
            else:
                before = contexts[context]
                yield before, ids[len(before) :]

    def text_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """As the tokenizer adds special tokens; none where the text has the first one already."""
        marked = [self._prefix_text != "" and text.startswith(self._prefix_text) for text in texts]
        ids: list[list[int]] = [[] for _ in texts]
        for is_marked in (False, True):
            group = [index for index, mark in enumerate(marked) if mark == is_marked]
            if not group:
                continue
            options: dict[str, Any] = {"add_special_tokens": False} if is_marked else {}
            encoded = self._tokenizer([texts[index] for index in group], **options)["input_ids"]
            for index, row in zip(group, encoded, strict=True):
                ids[index] = list(row)
        return ids

    def plain_ids(self, text: str) -> list[int]:
        """Without special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))
