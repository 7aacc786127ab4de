"""Chat against `transformers.generate` on the same weights in bf16, pair by pair in one run.

    python -m benchmarks.chat [--pairs 3] [--precision bf16]

One stream, 32 streams that start at once (their prompts included), the first token of a 1,000-token prompt, and that
of the chat's next turn, of which `generate` reads all again and we what is new. Greedy, a fixed number of tokens, end
tokens ignored. Both sides run in this process, in turn, never together.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence

from llm_app.config import ModelConfig, SamplingConfig, Settings, quiet_environment

quiet_environment()

import torch  # noqa: E402
from transformers import AutoModelForCausalLM, GgufConfig  # noqa: E402

from benchmarks.prompts import long_prompt, short_prompts  # noqa: E402
from llm_app import chat  # noqa: E402
from llm_app.engine import catalog  # noqa: E402
from llm_app.engine.host import Host  # noqa: E402
from llm_app.engine.pace import end_team  # noqa: E402
from llm_app.messages import Message  # noqa: E402

N_NEW = 64


def main() -> None:
    """Measure and print one JSON line a figure, then the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--precision", default="bf16", help="ours; the other side is bf16")
    args = parser.parse_args()
    host = Host(Settings.from_environment())
    for _ in host.load(ModelConfig("embedded", precision=args.precision)):
        pass
    path = catalog.embedded_model()
    theirs = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    ).eval().to(host.loaded.device)
    short = [ids_of(host, text) for text in short_prompts()]
    long = ids_of(host, long_prompt())
    reply = "".join(delta.text for delta in host.stream(long, SamplingConfig(temperature=0.0, max_new_tokens=N_NEW)))
    later = ids_of(host, long_prompt(), reply, "What did you leave out?")
    print(f"# {torch.get_num_threads()} threads, torch {torch.__version__}, {args.precision}, {len(long)}-token prompt")
    cases: list[tuple[str, Callable[[], float], Callable[[], float]]] = [
        ("one stream, tokens/s", lambda: ours(host, short[:1]), lambda: generate(theirs, short[0])),
        ("32 streams, tokens/s in total", lambda: ours(host, short), lambda: generate(theirs, short[0])),
        (
            "first token of the long prompt, 1/s",
            lambda: 1 / first(host, long),
            lambda: 1 / generate_first(theirs, long),
        ),
        (
            "first token of the next turn, 1/s",
            lambda: 1 / first(host, later),
            lambda: 1 / generate_first(theirs, later),
        ),
    ]
    for name, mine, other in cases:
        mine(), other()  # warm-up
        pairs = [(mine(), other()) for _ in range(args.pairs)]
        ratios = [a / b for a, b in pairs]
        report = {
            "case": name,
            "ours": round(statistics.median(a for a, _ in pairs), 2),
            "generate": round(statistics.median(b for _, b in pairs), 2),
            "ratio": round(statistics.median(ratios), 2),
            "ratios": [round(ratio, 2) for ratio in ratios],
        }
        print(json.dumps(report), flush=True)
    host.shutdown(0)


def ids_of(host: Host, *texts: str) -> list[int]:
    """The prompt of a question, or of one after others and their replies, as the model gets it."""
    messages = [Message(("user", "assistant")[i % 2], text) for i, text in enumerate(texts)]
    return list(chat.render(host.loaded, messages).token_ids)


def ours(host: Host, prompts: Sequence[list[int]]) -> float:
    """Tokens per second of all streams together, from submission to the last token."""
    rules = SamplingConfig(temperature=0.0, max_new_tokens=N_NEW, ignore_eos=True)
    started = time.perf_counter()
    streams = [host.stream(prompt, rules) for prompt in prompts]
    n_tokens = sum(len(delta.token_ids) for stream in streams for delta in stream)
    assert n_tokens == N_NEW * len(prompts)
    return n_tokens / (time.perf_counter() - started)


def first(host: Host, prompt: list[int]) -> float:
    """Seconds to the first token."""
    started = time.perf_counter()
    with host.stream(prompt, SamplingConfig(temperature=0.0, max_new_tokens=1, ignore_eos=True)) as stream:
        list(stream)
    return time.perf_counter() - started


@torch.inference_mode()
def generate(model: AutoModelForCausalLM, prompt: list[int], n_new: int = N_NEW) -> float:
    """Tokens per second of one `generate` call, prompt included."""
    ids = torch.tensor([prompt], device=model.device)
    started = time.perf_counter()
    options = {"max_new_tokens": n_new, "min_new_tokens": n_new, "do_sample": False}
    output = model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    seconds = time.perf_counter() - started
    end_team()  # its threads would slow ours down
    return (output.shape[1] - len(prompt)) / seconds


def generate_first(model: AutoModelForCausalLM, prompt: list[int]) -> float:
    """Seconds of `generate` for one token."""
    return 1 / generate(model, prompt, n_new=1)


if __name__ == "__main__":
    main()
