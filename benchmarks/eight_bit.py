"""What 8-bit products would give prompts and batches, and what they would cost: the road not taken.

    PROOFBENCH_DATA=FOLDER python -m benchmarks.eight_bit [--tokens 8192] [--shapes 32,43,1024]

Speed: torch's int8 product against oneDNN's in bfloat16, for the shapes of the embedded model's layers: alone, and with
what rounds the activations row by row before it and scales its sums after it. Quality: perplexity on the first tokens
of WikiText-2's test part with the weights rounded to 8 bits row by row, then with the activations rounded too, token by
token, as that product would have them; and with the activations alone, in groups of 32. Everything is computed in
bfloat16 and float32 here; only the rounding is that of 8 bits.
"""

import argparse
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from statistics import median
from timeit import repeat

from llm_app.config import ModelConfig, Settings, quiet_environment

quiet_environment()

import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from llm_app.engine.host import Host  # noqa: E402
from llm_app.engine.packed import prepacked, prepacked_product  # noqa: E402

WIDTHS = ((960, 576), (3072, 576), (576, 1536))  # (out, in): queries, keys and values; gate and up; down
WINDOW = 1024


def main() -> None:
    """Print one JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--shapes", default="32,43,1024", help="rows")
    args = parser.parse_args()
    print(f"# {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}", flush=True)
    with torch.inference_mode():
        for n_rows in map(int, args.shapes.split(",")):
            for n_out, n_in in WIDTHS:
                print(json.dumps(speed(n_rows, n_out, n_in)), flush=True)
        for line in quality(args.tokens):
            print(json.dumps(line), flush=True)


def speed(n_rows: int, n_out: int, n_in: int) -> dict[str, float | str]:
    """Microseconds of one product on each side; above 1, eight bits are ahead."""
    x, weight = torch.randn(n_rows, n_in, dtype=torch.bfloat16), prepacked(torch.randn(n_out, n_in).bfloat16())
    x8 = torch.randint(-127, 128, (n_rows, n_in), dtype=torch.int8)
    weight8 = torch.randint(-127, 128, (n_out, n_in), dtype=torch.int8).t()
    n_times = max(1, 2048 // n_rows)
    wide = median(repeat(lambda: prepacked_product(x, weight), number=n_times, repeat=7)) / n_times
    narrow = median(repeat(lambda: torch._int_mm(x8, weight8), number=n_times, repeat=7)) / n_times
    scales = torch.rand(n_out)
    whole = median(repeat(lambda: _scaled_product(x, weight8, scales), number=n_times, repeat=7)) / n_times
    return {
        "rows": n_rows, "product": f"{n_out} x {n_in}", "bf16_us": round(1e6 * wide, 1),
        "int8_us": round(1e6 * narrow, 1), "ratio": round(wide / narrow, 2),
        "scaled_us": round(1e6 * whole, 1), "ratio_scaled": round(wide / whole, 2),
    }  # fmt: skip


def _scaled_product(x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
    """(rows, in) in bfloat16 to (rows, out): each row on a scale of its own, weights on one each output."""
    largest = x.abs().amax(-1, keepdim=True)
    sums = torch._int_mm((x * (127 / largest)).round_().to(torch.int8), weight)
    return (sums.float().mul_(scales).mul_(largest.float() / 127)).to(x.dtype)


def quality(n_tokens: int) -> list[dict[str, float | str]]:
    """Perplexity as the model is, and how much more it is with 8 bits, in percent."""
    settings = Settings.from_environment()
    if settings.data is None:
        raise SystemExit("Set PROOFBENCH_DATA to the folder with Salesforce/wikitext.")
    host = Host(settings)
    for _ in host.load(ModelConfig("embedded", precision="bf16")):
        pass
    model, tokenizer = host.loaded.model, host.loaded.tokenizer
    table = pq.read_table(Path(settings.data, "Salesforce", "wikitext", "wikitext-2-raw-v1", "test.parquet"))
    ids = tokenizer("".join(table["text"].to_pylist())[: 8 * n_tokens])["input_ids"][:n_tokens]
    lines: list[dict[str, float | str]] = [{"rounded": "nothing", "perplexity": perplexity(model, ids)}]
    layers = [
        module for name, module in model.named_modules() if isinstance(module, nn.Linear) and "lm_head" not in name
    ]
    exact = [layer.weight.detach().float() for layer in layers]
    rounded = [_round(weight) for weight in exact]
    for name, weights, rounds in (
        ("weights", rounded, None), ("weights and activations", rounded, _round),
        ("activations, in groups of 32", exact, _round_groups),
    ):  # fmt: skip
        for layer, weight in zip(layers, weights, strict=True):
            layer.forward = _Rounded(weight, rounds)  # type: ignore[method-assign]
        found = perplexity(model, ids)
        more = 100 * (found / float(lines[0]["perplexity"]) - 1)
        lines.append({"rounded": name, "perplexity": found, "more_percent": more})
    return lines


def perplexity(model: nn.Module, ids: list[int]) -> float:
    """Of windows that begin afresh."""
    total, n = 0.0, 0
    for start in range(0, len(ids) - 1, WINDOW):
        window = torch.tensor([ids[start : start + WINDOW]])
        logits = model(input_ids=window).logits[0].float()
        total += float(functional.cross_entropy(logits[:-1], window[0, 1:], reduction="sum"))
        n += window.shape[1] - 1
    return math.exp(total / n)


class _Rounded:
    """A linear layer on given weights, of inputs that are rounded or not."""

    def __init__(self, weight: Tensor, rounds: Callable[[Tensor], Tensor] | None) -> None:
        self._weight, self._rounds = weight, rounds

    def __call__(self, x: Tensor) -> Tensor:
        read = x.float() if self._rounds is None else self._rounds(x.float())
        return functional.linear(read, self._weight).to(x.dtype)


def _round(values: Tensor) -> Tensor:
    """Each row to the 255 numbers that its largest one spans."""
    scale = values.abs().amax(-1, keepdim=True).clamp(min=1e-9) / 127
    return (values / scale).round() * scale


def _round_groups(values: Tensor) -> Tensor:
    """The same for each 32 neighbours, as llama.cpp has them."""
    return _round(values.unflatten(-1, (-1, 32))).flatten(-2)


if __name__ == "__main__":
    main()
