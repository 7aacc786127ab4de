"""What the model says in the middle of training: short greedy replies to a few held-back prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from llm_app.training.base import Base

MAX_NEW_TOKENS = 48


@dataclass(frozen=True)
class SamplePrompt:
    """A prompt as text and as tokens, with the answer that the data set gives."""

    text: str
    ids: tuple[int, ...]
    expected: str


@torch.no_grad()
def replies(base: Base, prompts: Sequence[SamplePrompt]) -> tuple[tuple[str, str, str], ...]:
    """(prompt, expected answer, the model's) of each; the model is in evaluation mode."""
    if not prompts:
        return ()
    model, tokenizer = base.model, base.tokenizer
    ends = model.generation_config.eos_token_id if model.generation_config else None
    ends = [end for end in (*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id) if end is not None]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (ends[0] if ends else 0)
    longest = max(len(prompt.ids) for prompt in prompts)
    ids = torch.tensor([[pad] * (longest - len(prompt.ids)) + list(prompt.ids) for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in prompts])
    output = model.generate(
        input_ids=ids.to(base.device), attention_mask=mask.to(base.device), max_new_tokens=MAX_NEW_TOKENS,
        do_sample=False, num_beams=1, temperature=None, top_p=None, top_k=None, repetition_penalty=1.0,
        eos_token_id=sorted(set(ends)) or None, pad_token_id=pad, use_cache=True,
    )  # fmt: skip
    texts = tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)
    return tuple((prompt.text, prompt.expected, text.strip()) for prompt, text in zip(prompts, texts, strict=True))
