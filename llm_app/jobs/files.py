"""The files of a benchmark, as lm-evaluation-harness writes them."""

import datetime
from pathlib import Path
from typing import Any

from lm_eval.utils import sanitize_model_name, sanitize_task_name

from eval.results import N_BOOTSTRAP, Report, report, results_text, samples_lines
from llm_app.jobs.benchmark import Benchmark
from llm_app.jobs.folder import Spec, write_whole


def write_files(benchmark: Benchmark, output: Path, *, n_bootstrap: int = N_BOOTSTRAP) -> tuple[Report, Path]:
    """Write `results_*.json` and a `samples_*.jsonl` for each task under `output`; gives the first one's path.

    Names and contents come from the run alone: written again, they are the same, byte for byte.
    """
    spec = benchmark.folder.spec()
    made = report(benchmark.suite, benchmark.results, n_bootstrap=n_bootstrap)
    folder = output / sanitize_model_name(spec["model"]["name"])
    stamp = spec["created"].replace(":", "-")
    for name, task in benchmark.suite.tasks.items():
        lines = samples_lines(task, benchmark.results.get(name, ()))
        write_whole(folder / f"samples_{sanitize_task_name(name)}_{stamp}.jsonl", "".join(lines))
    text = results_text(made, benchmark.suite, benchmark.results, _about(spec, n_bootstrap))
    return made, write_whole(folder / f"results_{stamp}.json", text)


def _about(spec: Spec, n_bootstrap: int) -> dict[str, Any]:
    model, options = spec["model"], spec["options"]
    seeds = (0, 1234, 1234) if options["seed"] is None else (options["seed"],) * 3
    created = datetime.datetime.fromisoformat(spec["created"]).replace(tzinfo=datetime.UTC)
    return {
        "config": {
            "model": "proofbench",
            "model_args": {
                "model": model["name"], "adapter": model["adapter_name"], "precision": model["precision"],
            },
            "batch_size": None,
            "device": None,
            "limit": options["limit"],
            "bootstrap_iters": n_bootstrap,
            "gen_kwargs": None,
            "random_seed": seeds[0],
            "numpy_seed": seeds[1],
            "fewshot_seed": seeds[2],
        },
        "date": created.timestamp(),
        "lm_eval_version": spec["packages"]["lm-eval"],
        "transformers_version": spec["packages"]["transformers"],
        "model_source": "proofbench",
        "model_name": model["name"],
        "model_name_sanitized": sanitize_model_name(model["name"]),
        "max_length": spec["context"],
        "system_instruction": None,
        "fewshot_as_multiturn": options["uses_chat_template"],
        "chat_template_sha": model["template"] if options["uses_chat_template"] else None,
        "proofbench": {"run": spec["id"], "version": spec["program"], "identity": dict(model)},
    }
