"""What a reader is told when decoding fails, and what counts as too little memory."""

import logging
import re
import uuid

from llm_app.errors import GenerationFailed, NotEnoughMemory, UserError

log = logging.getLogger(__name__)
IS_DOWN = "The decoder failed repeatedly. Load the model again."


def is_out_of_memory(error: Exception) -> bool:
    """Whether a pass failed for want of memory; torch says so in several ways."""
    if isinstance(error, RuntimeError):
        return bool(re.search("allocate memory|out of memory|alloc_failed", str(error).lower()))
    return isinstance(error, MemoryError)


def told(error: Exception) -> Exception:
    """What the reader gets: the sentence of a UserError, else a number that the log has too."""
    if isinstance(error, UserError):
        return error
    if is_out_of_memory(error):
        return NotEnoughMemory("Not enough memory for this reply. Shorten the prompt or lower the number of streams.")
    number = uuid.uuid4().hex[:8]
    log.error("generation failed, number %s: %s", number, type(error).__name__)
    return GenerationFailed(f"Generation failed (number {number}). The text so far is kept; send the message again.")
