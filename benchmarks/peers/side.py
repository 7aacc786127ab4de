"""What the sides share: a process that loads once, then is asked over stdin and answers over stdout, a JSON line each.

No package but Python's own: each side may have an interpreter of its own.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ADAPTER_FILE = "adapter.gguf"  # beside PEFT's own files


@dataclass(frozen=True)
class Setup:
    """What a side loads. `file` and `folder` are the same model: the GGUF, and its weights in bf16 for transformers.

    `adapter`: a PEFT folder with a GGUF of it. `precision`: of ours, and OpenVINO's hint; empty is the side's default.
    """

    file: str
    folder: str
    adapter: str | None
    n_streams: int
    n_threads: int
    precision: str


# (prompts, new tokens of each, told of the number of tokens that have just come) -> the first reply's text.
Answer = Callable[[Sequence[Sequence[int]], int, Callable[[int], None]], str]


def serve(start: Callable[[Setup], tuple[Answer, str]]) -> None:
    """Load what the first line says, then answer line by line. `start` also says what the side is."""
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer, about = start(Setup(**json.loads(sys.stdin.readline())))
    print(json.dumps({"about": about}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(measure(answer, asked["prompts"], asked["n_new"])), file=answers, flush=True)


def measure(answer: Answer, prompts: Sequence[Sequence[int]], n_new: int) -> dict[str, Any]:
    """One call as its caller sees it: seconds to the first token, tokens/s after it, tokens/s with the prompts.

    Raises: RuntimeError if it gave fewer tokens, or more, than asked.
    """
    came: list[tuple[float, int]] = []
    started = time.perf_counter()
    text = answer(prompts, n_new, lambda n_tokens: came.append((time.perf_counter(), n_tokens)))
    seconds = time.perf_counter() - started
    n_tokens = sum(n for _, n in came)
    if n_tokens != n_new * len(prompts):
        raise RuntimeError(f"{n_tokens} tokens came, {n_new * len(prompts)} were asked for")
    (first, n_first), (last, _) = came[0], came[-1]
    return {
        "first_token_ms": 1000 * (first - started), "total_tokens_per_s": n_tokens / seconds, "text": text[:60],
        "decode_tokens_per_s": (n_tokens - n_first) / (last - first) if last > first else None,
    }  # fmt: skip
