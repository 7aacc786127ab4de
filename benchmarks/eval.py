"""Scoring against lm-evaluation-harness's own backend for transformers, on the same weights and requests, in one run.

    PROOFBENCH_DATA=FOLDER python -m benchmarks.eval [--pairs 3] [--dtypes bf16,fp32] [--cases arc_easy,mmlu]
        [--device cpu] [--profile]

FOLDER is laid out like the hub. The other side runs at the best of several batch sizes, found first on a quarter of the
requests; not "auto", which tries 64 rows of the longest request and needs their logits in memory. Both sides run in
this process, in turn, never together; only the log-likelihood part is timed. --profile: then ours once more, for the
shares of matrix products and the like in its time.
"""

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from llm_app.config import ModelConfig, Settings, quiet_environment

quiet_environment()
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

import torch  # noqa: E402
from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: E402

from benchmarks.shares import shares  # noqa: E402
from eval.tasks.harness import TaskOptions, load_tasks  # noqa: E402
from eval.types import Request  # noqa: E402
from llm_app.engine import catalog  # noqa: E402
from llm_app.engine.host import Host  # noqa: E402
from llm_app.jobs.answers import EngineModel  # noqa: E402

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
BATCH_SIZES = {"cpu": (1, 4, 8, 16), "cuda": (8, 16, 32, 64)}
WINDOW = 1024  # of rolling perplexity, on both sides
ROLLING = ("wikitext",)


@dataclass(frozen=True)
class Case:
    """Tasks of the harness, so many samples of each, with so many examples before each question."""

    tasks: str
    n_shots: int
    limit: int


CASES = {
    "arc_easy": Case("arc_easy", 0, 100),
    "arc_challenge": Case("arc_challenge", 0, 100),
    "hellaswag": Case("hellaswag", 0, 50),
    "mmlu": Case("mmlu_abstract_algebra", 5, 50),
    "wikitext": Case("wikitext", 0, 4),
}


def main() -> None:
    """Measure and print one JSON line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--dtypes", default="bf16,fp32")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="of both sides")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    settings = Settings.from_environment()
    if settings.data is None:
        parser.error("set PROOFBENCH_DATA to a folder laid out like the hub")
    print(f"# {torch.get_num_threads()} threads, torch {torch.__version__}")
    for dtype in args.dtypes.split(","):
        for name in args.cases.split(","):
            host = Host(settings)
            n_context = WINDOW if name in ROLLING else 0
            config = ModelConfig("embedded", precision=dtype, device=args.device, context_length=n_context)
            for _ in host.load(config):
                pass
            requests = measure(name, dtype, host, args.pairs)
            if args.profile:
                _, told = shares(partial(ours, host, requests))
                print(json.dumps({"case": name, "dtype": dtype, "shares": told}), flush=True)
            host.shutdown(0)


def measure(name: str, dtype: str, host: Host, n_pairs: int) -> Sequence[Request]:
    """One case, both sides in turn; gives what was asked."""
    case, device = CASES[name], host.loaded.device.type
    suite = load_tasks([case.tasks], TaskOptions(case.n_shots, case.limit), data=host.settings.data)
    requests = [r for task in suite.tasks.values() for sample in task.samples for r in sample.requests]
    theirs = reference(dtype, host)
    if name in ROLLING:
        requests = [Request("rolling", request.text[:12_000]) for request in requests]
    mine = ours(host, requests)
    quarter = requests[: -(-len(requests) // 4)]
    tried = {size: their_seconds(theirs, quarter, size)[0] for size in BATCH_SIZES[device]}
    size = min(tried, key=tried.__getitem__)
    pairs = [(ours(host, requests), their_seconds(theirs, requests, size)) for _ in range(n_pairs)]
    ratios = [other / own for (own, _), (other, _) in pairs]
    differences = [abs(a - b) for a, b in zip(mine[1], pairs[0][1][1], strict=True)]
    print(json.dumps({
        "case": name, "dtype": dtype, "device": device, "shots": case.n_shots, "samples": case.limit,
        "requests": len(requests),
        "ours_s": round(statistics.median(own for (own, _), _ in pairs), 2),
        "harness_s": round(statistics.median(other for _, (other, _) in pairs), 2), "harness_batch": size,
        "ratio": round(statistics.median(ratios), 2), "ratios": [round(r, 2) for r in ratios],
        "largest_difference": float(f"{max(differences):.2g}"),
    }), flush=True)  # fmt: skip
    return requests


def reference(dtype: str, host: Host) -> HFLM:
    """The harness's backend with the embedded weights, on the same device and with the same context."""
    path = catalog.embedded_model()
    files: dict[str, Any] = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    model = AutoModelForCausalLM.from_pretrained(
        **files, dtype=DTYPES[dtype], quantization_config=GgufConfig(dequantize=True)
    )
    return HFLM(
        pretrained=model.eval().to(host.loaded.device), tokenizer=AutoTokenizer.from_pretrained(**files),
        device=host.loaded.device.type, max_length=host.loaded.n_context, backend="causal",
    )  # fmt: skip


def ours(host: Host, requests: Sequence[Request]) -> tuple[float, list[float]]:
    """Seconds, and the log-likelihoods."""
    model, wanted = EngineModel(host), range(len(requests))
    values = [math.nan] * len(requests)
    started = time.perf_counter()
    if requests[0].kind == "rolling":
        for index, value in model.rolling([r.text for r in requests], wanted):
            values[index] = value if isinstance(value, float) else math.nan
    else:
        for index, answer in model.loglikelihoods([(r.text, r.continuation) for r in requests], wanted):
            values[index] = answer[0] if isinstance(answer, tuple) else math.nan
    return time.perf_counter() - started, values


def their_seconds(model: HFLM, requests: Sequence[Request], batch_size: int) -> tuple[float, list[float]]:
    """The same of the harness."""
    model.batch_size_per_gpu = batch_size
    is_rolling = requests[0].kind == "rolling"
    kind = "loglikelihood_rolling" if is_rolling else "loglikelihood"
    instances = [
        Instance(kind, {}, (r.text,) if is_rolling else (r.text, r.continuation), i)  # type: ignore[arg-type]
        for i, r in enumerate(requests)
    ]
    started = time.perf_counter()
    if is_rolling:
        return finished(started, [float(value) for value in model.loglikelihood_rolling(instances, disable_tqdm=True)])
    return finished(started, [value for value, _ in model.loglikelihood(instances, disable_tqdm=True)])


def finished(started: float, values: list[float]) -> tuple[float, list[float]]:
    """Seconds since then, and the values."""
    return time.perf_counter() - started, values


if __name__ == "__main__":
    main()
