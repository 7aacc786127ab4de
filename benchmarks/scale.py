"""What a token costs against streams at once, prompt length and model size, held against what the memory can deliver.

    python -m benchmarks.scale [--rounds 3] [--precision bf16] [--new 32]

Llama models with random weights, made on the spot with the embedded model's vocabulary; one of them has its very shape.
Through the Host, as chats are. Greedy, end tokens ignored, medians of the rounds, after one that does not count.

A step gives one token to each stream. `step_ms` is the mean of the stream that started last, so that all streams run in
it. The limit: every weight and every key and value of the context read once a step, at the speed at which the same
threads sum up a tensor of 1 GiB in this run. `fit` explains all steps by four costs, none of them negative (scipy's
nnls on relative errors): a layer's own, a stream's own, a byte read, a multiply-add. `fit prompt` explains the time to
the first token of one stream by a constant, the prompt's length and its square.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_app.config import ModelConfig, SamplingConfig, Settings, quiet_environment

quiet_environment()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.optimize import nnls  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

from llm_app.engine import catalog  # noqa: E402
from llm_app.engine.host import Host  # noqa: E402
from llm_app.engine.sources import open_source  # noqa: E402

STREAMS = (1, 2, 4, 8, 16, 32)
PROMPTS = (32, 128, 512, 1024, 2048, 4000)
N_CONTEXT = 8192


@dataclass(frozen=True)
class Shape:
    """A Llama model; its heads are 64 wide and three of them share keys and values."""

    n_layers: int
    hidden: int
    inner: int

    def config(self, n_vocabulary: int) -> LlamaConfig:
        """As transformers describes it."""
        n_heads = self.hidden // 64
        return LlamaConfig(
            vocab_size=n_vocabulary, hidden_size=self.hidden, intermediate_size=self.inner,
            num_hidden_layers=self.n_layers, num_attention_heads=n_heads, num_key_value_heads=n_heads // 3,
            max_position_embeddings=N_CONTEXT, tie_word_embeddings=True, rope_theta=100_000.0,
        )  # fmt: skip

    def bytes_of_position(self) -> int:
        """Keys and values of one position, in bf16."""
        return 2 * self.n_layers * (self.hidden // 64 // 3) * 64 * 2


EMBEDDED = Shape(30, 576, 1536)
SHAPES = (Shape(12, 384, 1024), EMBEDDED, Shape(32, 960, 2560), Shape(24, 1536, 4096))


@dataclass(frozen=True)
class Point:
    """One measurement. `n_products`: multiply-adds of one token, which are as many as weights that a step reads."""

    shape: Shape
    n_products: int
    bytes_of_weight: int
    n_streams: int
    n_prompt: int
    n_new: int
    step_seconds: float
    first_seconds: float

    def bytes_read(self) -> float:
        """By a step in the middle of the replies."""
        n_positions = self.n_streams * (self.n_prompt + self.n_new / 2)
        return self.n_products * self.bytes_of_weight + n_positions * self.shape.bytes_of_position()

    def causes(self) -> tuple[float, float, float, float]:
        """What a step's time is explained by: layers, streams, bytes, multiply-adds."""
        return self.shape.n_layers, self.n_streams, self.bytes_read(), self.n_streams * self.n_products

    def told(self, bytes_per_second: float) -> dict[str, Any]:
        """The line of the table."""
        limit = self.bytes_read() / bytes_per_second
        return {
            "parameters_m": round(self.n_products / 1e6), "read_mb": round(self.bytes_read() / 1e6),
            "streams": self.n_streams, "prompt": self.n_prompt, "step_ms": round(1000 * self.step_seconds, 2),
            "tokens_per_s": round(self.n_streams / self.step_seconds, 1),
            "limit_tokens_per_s": round(self.n_streams / limit, 1), "of_limit": round(limit / self.step_seconds, 2),
            "first_token_ms": round(1000 * self.first_seconds, 1),
        }  # fmt: skip


def main() -> None:
    """Measure and print one JSON line a point, then the fits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--new", type=int, default=32, help="tokens of each stream")
    args = parser.parse_args()
    points = []
    speed = memory_speed()
    print(f"# {torch.get_num_threads()} threads, memory {speed / 1e9:.1f} GB/s, load {os.getloadavg()[0]:.1f}")
    for shape in SHAPES:
        with loaded(shape, args.precision) as (host, n_products):
            for n_streams, n_prompt in sizes(shape):
                point = measure(host, shape, n_products, n_streams, n_prompt, args.new, args.rounds)
                points.append(point)
                print(json.dumps(point.told(speed)), flush=True)
    print(json.dumps(fit_steps(points, speed)))
    print(json.dumps(fit_prompts([each for each in points if each.shape == EMBEDDED and each.n_streams == 1])))


def sizes(shape: Shape) -> list[tuple[int, int]]:
    """(streams, tokens of the prompt): all of them for the embedded model's shape, two for the others."""
    if shape != EMBEDDED:
        return [(1, PROMPTS[0]), (8, PROMPTS[0])]
    return [(n_streams, PROMPTS[0]) for n_streams in STREAMS] + [(1, n_prompt) for n_prompt in PROMPTS[1:]]


def memory_speed() -> float:
    """Bytes read in a second by torch's threads; the best of five."""
    big = torch.ones(1 << 28)  # 1 GiB, far more than any cache
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        big.sum()
        seconds.append(time.perf_counter() - started)
    return big.nbytes / min(seconds)


@contextmanager
def loaded(shape: Shape, precision: str) -> Iterator[tuple[Host, int]]:
    """A host with a random model of this shape, and the model's multiply-adds a token."""
    settings = Settings.from_environment()
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = open_source(catalog.find_model(catalog.EMBEDDED, settings)).tokenizer()
        tokenizer.save_pretrained(folder)
        torch.manual_seed(0)
        # Tied, so each weight is in one product: the embedding in that of the output layer.
        model = LlamaForCausalLM(shape.config(len(tokenizer))).to(torch.bfloat16)
        n_products = model.num_parameters()
        model.save_pretrained(folder)
        del model
        host = Host(settings)
        for _ in host.load(ModelConfig(str(Path(folder)), precision=precision)):
            pass
        yield host, n_products
        host.unload()


def measure(
    host: Host, shape: Shape, n_products: int, n_streams: int, n_prompt: int, n_new: int, n_rounds: int
) -> Point:
    """Medians of the rounds."""
    # None begins like another: what goes on from a chat before reads less.
    prompts = [[100 + (7919 * (n_prompt * (i + 1) + j)) % 40_000 for j in range(n_prompt)] for i in range(n_streams)]
    rounds = [run(host, prompts, n_new) for _ in range(n_rounds + 1)][1:]
    steps, firsts = (statistics.median(figures) for figures in zip(*rounds, strict=True))
    size = host.loaded.dtype.itemsize
    return Point(shape, n_products, size, n_streams, n_prompt, n_new, steps, firsts)


def run(host: Host, prompts: Sequence[Sequence[int]], n_new: int) -> tuple[float, float]:
    """Seconds of a step, and to the first token, of the stream that started last."""
    rules = SamplingConfig(temperature=0.0, max_new_tokens=n_new, ignore_eos=True)
    streams = [host.stream(prompt, rules) for prompt in prompts]
    usages = [delta.usage for stream in streams for delta in stream if delta.usage is not None]
    last = max(usages, key=lambda usage: usage.seconds_to_first_token)
    return (last.seconds_total - last.seconds_to_first_token) / (n_new - 1), last.seconds_to_first_token


def fit_steps(points: Sequence[Point], bytes_per_second: float) -> dict[str, Any]:
    """Least squares of relative errors. A cost of 0 means that the others explain its part."""
    causes = np.array([point.causes() for point in points])
    seconds = np.array([point.step_seconds for point in points])
    scale = causes.max(axis=0)  # causes differ by nine orders of magnitude
    costs = nnls(causes / scale / seconds[:, None], np.ones(len(points)))[0] / scale
    errors = np.abs(causes @ costs / seconds - 1)
    per_layer, per_stream, per_byte, per_product = map(float, costs)
    return {
        "fit": "step", "layer_us": round(1e6 * per_layer, 1), "stream_us": round(1e6 * per_stream, 1),
        "read_gb_per_s": round(1e-9 / per_byte, 1) if per_byte else None,
        "memory_gb_per_s": round(bytes_per_second / 1e9, 1),
        "products_g_per_s": round(1e-9 / per_product, 1) if per_product else None,
        "median_error": round(float(np.median(errors)), 3), "largest_error": round(float(errors.max()), 3),
    }  # fmt: skip


def fit_prompts(points: Sequence[Point]) -> dict[str, Any]:
    """Seconds to the first token by the prompt's length, least squares of relative errors."""
    lengths = np.array([point.n_prompt for point in points], dtype=float)
    seconds = np.array([point.first_seconds for point in points])
    causes = np.stack([np.ones_like(lengths), lengths / 1e3, (lengths / 1e3) ** 2], axis=1)
    costs = nnls(causes / seconds[:, None], np.ones(len(points)))[0]
    errors = np.abs(causes @ costs / seconds - 1)
    constant, linear, square = map(float, costs)
    return {
        "fit": "prompt", "constant_ms": round(1000 * constant, 1), "ms_of_1000_tokens": round(1000 * linear, 1),
        "ms_of_1000_tokens_squared": round(1000 * square, 1), "largest_error": round(float(errors.max()), 3),
    }  # fmt: skip


if __name__ == "__main__":
    main()
