"""`transformers.generate` in bf16, with PEFT for an adapter: one stream."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.side import Answer, Setup, serve


class Arrivals:
    """A streamer of transformers that counts tokens; what is put first is the prompt."""

    def __init__(self, came: Callable[[int], None]) -> None:
        self._came = came
        self._is_prompt = True

    def put(self, token_ids: Any) -> None:
        """Called with the prompt, then with each token."""
        if not self._is_prompt:
            self._came(token_ids.numel())
        self._is_prompt = False

    def end(self) -> None:
        """Nothing is held back."""


def start(setup: Setup) -> tuple[Answer, str]:
    """The folder's weights as they are; an adapter stays apart from them, as ours does."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(setup.folder, dtype=torch.bfloat16).eval()
    tokenizer = AutoTokenizer.from_pretrained(setup.folder)
    if setup.adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, setup.adapter).eval()

    @torch.inference_mode()
    def answer(prompts: Sequence[Sequence[int]], n_new: int, came: Callable[[int], None]) -> str:
        [prompt] = prompts
        ids = torch.tensor([prompt])
        output = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=n_new, min_new_tokens=n_new,
            do_sample=False, streamer=Arrivals(came),
        )  # fmt: skip
        return str(tokenizer.decode(output[0, len(prompt) :]))

    return answer, f"transformers {transformers.__version__}, torch {torch.__version__}"


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    serve(start)
