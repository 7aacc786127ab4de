"""Classification of SST-2's development rows against the tools that people use for it, in one run.

    PROOFBENCH_DATA=FOLDER python -m benchmarks.classify [--pairs 3] [--limit N] [--cases zero-shot,encoder]
        [--dtype bf16|fp32] [--classifier DIR]

zero-shot: lm-evaluation-harness's own backend for transformers, same prompts, words and weights. encoder: transformers'
pipeline("text-classification") on the same folder; without DIR, the embedded encoder with a head that is not trained,
since speed does not depend on it. The other side runs row by row, as it does unasked, and at the best of several batch
sizes, found first on a quarter of the rows. Both sides run in this process, in turn, never together. Ratios of
processor time stand beside those of seconds: they say more where other programs run.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llm_app.config import ModelConfig, Settings, quiet_environment

quiet_environment()

import torch  # noqa: E402
from transformers import pipeline  # noqa: E402

from benchmarks.eval import BATCH_SIZES, reference, their_seconds  # noqa: E402
from eval.tasks.harness import TaskOptions, load_tasks  # noqa: E402
from eval.types import Request  # noqa: E402
from llm_app.classify.config import ZeroShotConfig  # noqa: E402
from llm_app.classify.encoder import new_encoder  # noqa: E402
from llm_app.classify.open import open_classifier  # noqa: E402
from llm_app.classify.types import Item, Prediction  # noqa: E402
from llm_app.classify.zero_shot import Likelihoods, ZeroShot  # noqa: E402
from llm_app.engine import catalog  # noqa: E402
from llm_app.engine.host import Host  # noqa: E402
from llm_app.engine.plain_folder import PlainFolder  # noqa: E402
from llm_app.engine.weights import CLASSIFIES  # noqa: E402

ENDING = "\nQuestion: Is this sentence positive or negative?\nAnswer:"
LABELS = ("negative", "positive")
ROW_BY_ROW = 1
Ours = Callable[[], list[float]]  # all numbers in the order of the rows
Theirs = Callable[[float, int], list[float]]  # the same, of a share of the rows, by so many rows at once


def main() -> None:
    """Measure and print one JSON line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--limit", type=int, default=872)
    parser.add_argument("--cases", default="zero-shot,encoder")
    parser.add_argument("--dtype", default="bf16", choices=("bf16", "fp32"), help="of the zero-shot case, both sides")
    parser.add_argument("--classifier", type=Path, help="folder of a trained encoder")
    args = parser.parse_args()
    settings = Settings.from_environment()
    if settings.data is None:
        parser.error("set PROOFBENCH_DATA to a folder laid out like the hub")
    suite = load_tasks(["sst2"], TaskOptions(0, args.limit), data=settings.data)
    requests = [request for sample in suite.tasks["sst2"].samples for request in sample.requests]
    texts = [request.text.removesuffix(ENDING) for request in requests[:: len(LABELS)]]
    print(f"# {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in args.cases.split(","):
        if name == "zero-shot":
            zero_shot(args.dtype, settings, texts, requests, args.pairs)
        elif args.classifier:
            encoder(args.classifier, settings, texts, args.pairs)
        else:
            with tempfile.TemporaryDirectory() as folder:
                encoder(untrained(Path(folder)), settings, texts, args.pairs)


def zero_shot(dtype: str, settings: Settings, texts: list[str], requests: list[Request], n_pairs: int) -> None:
    """The loaded chat model, asked for the likelihood of each label's word."""
    host = Host(settings)
    for _ in host.load(ModelConfig("embedded", precision=dtype)):
        pass
    classifier = ZeroShot(host, LABELS, ZeroShotConfig(template="{text}" + ENDING))
    items, harness = [Item(text) for text in texts], reference(dtype, host)

    def ours() -> list[float]:
        found = (one for one in classifier.likelihoods(items) if isinstance(one, Likelihoods))
        return [value for one in sorted(found, key=lambda one: one.index) for value in one.sums]

    def theirs(share: float, size: int) -> list[float]:
        return their_seconds(harness, requests[: round(len(requests) * share)], size)[1]

    compare({"case": "zero-shot", "dtype": dtype, "rows": len(texts)}, ours, theirs, n_pairs, host.loaded.device.type)
    host.shutdown(0)


def encoder(folder: Path, settings: Settings, texts: list[str], n_pairs: int) -> None:
    """An encoder with a head, from its folder."""
    classifier = open_classifier(str(folder), Host(settings), settings)
    items, labels = [Item(text) for text in texts], classifier.labels
    device = "cuda" if torch.cuda.is_available() else "cpu"
    peer = pipeline("text-classification", model=str(folder), device=device, top_k=None)

    def ours() -> list[float]:
        found = (one for one in classifier.predict(items) if isinstance(one, Prediction))
        return [value for one in sorted(found, key=lambda one: one.index) for value in one.scores]

    def theirs(share: float, size: int) -> list[float]:
        rows = peer(texts[: round(len(texts) * share)], batch_size=size)
        return [value for row in rows for value in in_order(row, labels)]

    compare({"case": "encoder", "dtype": "fp32", "rows": len(texts)}, ours, theirs, n_pairs, device)


def untrained(folder: Path) -> Path:
    """The embedded encoder with a new head, as a folder."""
    torch.manual_seed(0)
    network = new_encoder(
        PlainFolder(catalog.embedded_encoder(), CLASSIFIES), "single", LABELS, 128, torch.device("cpu")
    )
    network.module.save_pretrained(folder)  # type: ignore[operator]
    network.tokenizer.save_pretrained(folder)
    return folder


def in_order(row: Sequence[dict[str, float | str]], labels: Sequence[str]) -> list[float]:
    """The pipeline's scores in the order of the labels."""
    scores = {entry["label"]: float(entry["score"]) for entry in row}
    return [scores[label] for label in labels]


@dataclass(frozen=True)
class Took:
    """Seconds on the clock and of the processor, and the numbers that came out."""

    wall: float
    cpu: float
    values: list[float]


def timed(run: Ours) -> Took:
    """What it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    values = run()
    return Took(time.perf_counter() - wall, time.process_time() - cpu, values)


def compare(case: dict[str, object], ours: Ours, theirs: Theirs, n_pairs: int, device: str) -> None:
    """Both sides in turn; prints what they took, and how far their numbers are apart."""
    ours()  # the first pass of a process also decides how to multiply
    theirs(0.05, ROW_BY_ROW)
    tried = {size: timed(partial(theirs, 0.25, size)).wall for size in BATCH_SIZES[device]}
    size = min(tried, key=tried.__getitem__)
    sides = ours, partial(theirs, 1.0, size), partial(theirs, 1.0, ROW_BY_ROW)
    own, best, plain = zip(*([timed(side) for side in sides] for _ in range(n_pairs)), strict=True)
    own_s, best_s, plain_s = ([took.wall for took in side] for side in (own, best, plain))
    own_cpu, best_cpu, plain_cpu = ([took.cpu for took in side] for side in (own, best, plain))
    print(json.dumps(case | {
        "device": device, "ours_s": round(statistics.median(own_s), 2),
        "peer_s": round(statistics.median(best_s), 2), "peer_batch": size,
        "peer_row_by_row_s": round(statistics.median(plain_s), 2),
        "ratio": ratio(own_s, best_s), "cpu_ratio": ratio(own_cpu, best_cpu),
        "ratio_row_by_row": ratio(own_s, plain_s), "cpu_ratio_row_by_row": ratio(own_cpu, plain_cpu),
        "largest_difference": float(f"{largest_difference(own[0], best[0]):.2g}"),
    }), flush=True)  # fmt: skip


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How many times ours theirs is: the median over the pairs."""
    return round(statistics.median(b / a for a, b in zip(ours, theirs, strict=True)), 2)


def largest_difference(a: Took, b: Took) -> float:
    """Between numbers of the same place."""
    return max(abs(one - other) for one, other in zip(a.values, b.values, strict=True))


if __name__ == "__main__":
    main()
