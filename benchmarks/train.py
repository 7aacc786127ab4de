"""Speed and memory of training against TRL's SFTTrainer: the same model, examples, LoRA and batches.

    python -m benchmarks.train [--pairs 3] [--examples 64] [--data FILE] [--length 512] [--qlora] [--profile]

FILE has JSON lines with `prompt` and `completion`; without it, the example data that comes with the program. Each side
is a process of its own, in turn, never together, so that its peak of memory is its own. TRL runs with its default
settings, but for what both share: batch of 8, length, LoRA of rank 16 on all linear layers, on the same bf16 weights.
Only steps are timed, not loading. Both count the tokens of the examples, not of padding. --profile: ours alone, under
torch's profiler, with the shares of matrix products and the like in its time.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import llm_app
from llm_app.config import Settings, quiet_environment

quiet_environment()
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")

BATCH, RANK, ALPHA, RATE = 8, 16, 32, 2e-4
SIDES = ("ours", "trl")


def main() -> None:
    """Measure and print one JSON line a run, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--examples", type=int, default=64)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--qlora", action="store_true", help="nf4 weights on both sides")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--side", choices=(*SIDES, "folder"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    rows = read_rows(args.data)[: args.examples]
    if args.profile:
        from benchmarks.shares import shares

        result, of_time = shares(partial(ours, rows, args.length, args.qlora))
        print(json.dumps({"side": "ours", **result, "shares": of_time}))
    elif args.side == "ours":
        print(json.dumps({"side": "ours", **ours(rows, args.length, args.qlora)}))
    elif args.side == "trl":
        print(json.dumps({"side": "trl", **trl(rows, args.length, args.qlora, args.folder)}))
    elif args.side == "folder":
        write_folder(args.folder)
    else:
        compare(args.pairs, len(rows), args.qlora)


def compare(n_pairs: int, n_examples: int, is_qlora: bool) -> None:
    """Both sides in turn, and how they compare."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        in_its_own_process("folder", folder)
        for _ in range(n_pairs):
            pairs.append({side: in_its_own_process(side, folder) for side in SIDES})
            for result in pairs[-1].values():
                print(json.dumps(result), flush=True)
    speed = [pair["ours"]["tokens_per_second"] / pair["trl"]["tokens_per_second"] for pair in pairs]
    work = [pair["trl"]["core_seconds"] / pair["ours"]["core_seconds"] for pair in pairs]
    memory = [pair["ours"]["peak_mb"] / pair["trl"]["peak_mb"] for pair in pairs]
    print(json.dumps({
        "times_as_fast": round(statistics.median(speed), 2), "of_each_pair": [round(each, 2) for each in speed],
        # Of what the other side takes of the processor; where other programs run, steadier than the clock.
        "times_less_work": round(statistics.median(work), 2),
        "share_of_memory": round(statistics.median(memory), 2), "examples": n_examples, "qlora": is_qlora,
    }))  # fmt: skip


def in_its_own_process(side: str, folder: str) -> dict[str, Any]:
    """What this side prints."""
    command = [sys.executable, "-m", "benchmarks.train", *sys.argv[1:], "--side", side, "--folder", folder]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return result


def read_rows(path: Path | None) -> list[dict[str, str]]:
    """Prompts and completions; of our own example data, questions and answers."""
    path = path or Path(llm_app.__file__).parent / "data" / "examples" / "calendar.jsonl"
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        {"prompt": row["prompt"], "completion": row["completion"]} if "prompt" in row
        else {"prompt": row["messages"][0]["content"] + "\n", "completion": row["messages"][-1]["content"]}
        for row in rows
    ]  # fmt: skip


def ours(rows: Sequence[dict[str, str]], length: int, is_qlora: bool) -> dict[str, Any]:
    """One epoch here."""
    from llm_app.data.types import Example, Origin
    from llm_app.engine import catalog
    from llm_app.training.base import load_base
    from llm_app.training.config import TrainConfig
    from llm_app.training.encode import encode
    from llm_app.training.events import Step
    from llm_app.training.trainer import Trainer

    settings = Settings.from_environment()
    config = TrainConfig(
        method="qlora" if is_qlora else "lora", epochs=1.0, batch_size=BATCH, accumulation=1, rank=RANK,
        alpha=float(ALPHA), dropout=0.0, learning_rate=RATE, schedule="linear", warmup=0.0, precision="bf16",
        device="cpu", max_length=length,
    )  # fmt: skip
    base = load_base(catalog.find_model("embedded", settings), config, settings)
    examples = [
        encode(
            Example(Origin("bench", i), prompt=row["prompt"], completion=row["completion"]), base.tokenizer,
            max_length=length, responses_only=True,
        )
        for i, row in enumerate(rows)
    ]  # fmt: skip
    trainer = Trainer(base, config, examples)
    started = time.perf_counter(), time.process_time()
    steps = [event for event in trainer.run() if isinstance(event, Step)]
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    return told(seconds, sum(step.n_tokens for step in steps), [step.loss for step in steps])


def write_folder(folder: Path) -> None:
    """The embedded model as a folder in bf16, so that what reading GGUF takes is not counted against the other side."""
    from llm_app.engine import catalog
    from llm_app.training.base import load_base
    from llm_app.training.config import TrainConfig

    settings = Settings.from_environment()
    config = TrainConfig(precision="bf16", device="cpu")
    base = load_base(catalog.find_model("embedded", settings), config, settings)
    base.model.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)


def trl(rows: Sequence[dict[str, str]], length: int, is_qlora: bool, folder: Path) -> dict[str, Any]:
    """One epoch of SFTTrainer."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    quantized = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, quantization_config=quantized if is_qlora else None
    )
    config = SFTConfig(
        output_dir=str(folder / "out"), per_device_train_batch_size=BATCH, num_train_epochs=1, max_length=length,
        learning_rate=RATE, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    lora = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=model, args=config, train_dataset=Dataset.from_list(list(rows)), peft_config=lora,
        processing_class=AutoTokenizer.from_pretrained(folder),
    )  # fmt: skip
    started = time.perf_counter(), time.process_time()
    trainer.train()
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    return told(seconds, int(log[-1]["num_tokens"]), [entry["loss"] for entry in log])


def told(seconds: tuple[float, float], n_tokens: int, losses: Sequence[float]) -> dict[str, Any]:
    """What both sides say about themselves. `seconds`: on the clock, and of all processor cores."""
    return {
        "tokens_per_second": round(n_tokens / seconds[0], 1), "seconds": round(seconds[0], 1),
        "core_seconds": round(seconds[1], 1), "tokens": n_tokens,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "steps": len(losses),
        "first_loss": round(losses[0], 3), "last_loss": round(losses[-1], 3),
    }  # fmt: skip


if __name__ == "__main__":
    main()
