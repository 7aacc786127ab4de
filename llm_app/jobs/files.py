"""The files of a benchmark, as lm-evaluation-harness writes them."""

import datetime
import json
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lm_eval.utils import sanitize_model_name, sanitize_task_name

from eval.results import N_BOOTSTRAP, Report, report, results_text, samples_lines
from llm_app.errors import Cancelled, UserError
from llm_app.jobs.benchmark import Benchmark, Progress
from llm_app.jobs.ending import AskAgain
from llm_app.jobs.folder import RunFolder, Spec, write_whole
from llm_app.jobs.kept import room_of


def write_files(benchmark: Benchmark, output: Path, *, n_bootstrap: int | None = None) -> tuple[Report, Path]:
    """Write `results_*.json` and a `samples_*.jsonl` for each task under `output`; gives the first one's path.

    `n_bootstrap`: resamples for standard errors; None is what the run was started with.
    The run folder always gets them as well: reports are made from it alone. Names and contents come from the run
    alone: written again, they are the same, byte for byte.
    """
    spec = benchmark.folder.spec()
    n_bootstrap = spec["options"].get("n_bootstrap", N_BOOTSTRAP) if n_bootstrap is None else n_bootstrap
    made = report(benchmark.suite, benchmark.results, n_bootstrap=n_bootstrap, n_context=spec["context"])
    texts = {
        _samples_name(spec, name): "".join(samples_lines(task, benchmark.results.get(name, ())))
        for name, task in benchmark.suite.tasks.items()
    }
    about = _about(spec, n_bootstrap)
    room = room_of(benchmark.folder)
    if room.is_short:
        about["room"] = asdict(room)
    texts[_results_name(spec)] = results_text(made, benchmark.suite, benchmark.results, about)
    for folder in dict.fromkeys([benchmark.folder.path, output]):
        for name, text in texts.items():
            write_whole(folder / name, text)
    return made, output / _results_name(spec)


class Filed:
    """A benchmark as work for the queue: when it ends, its folder has the same files as after the command line."""

    def __init__(self, benchmark: Benchmark) -> None:
        self._benchmark = benchmark
        self.folder = benchmark.folder

    def run(self) -> Generator[Progress]:
        """The benchmark's own events. A run that was stopped gets the files of what is done, without resampling."""
        try:
            yield from self._benchmark.run()
        except (GeneratorExit, Cancelled, AskAgain):
            write_files(self._benchmark, self.folder.path, n_bootstrap=0)
            raise
        write_files(self._benchmark, self.folder.path)

    def stop(self, reason: UserError) -> None:
        """End it from another thread, within one pass of the model."""
        self._benchmark.stop(reason)


def read_results(folder: RunFolder) -> dict[str, Any]:
    """The run's `results_*.json`; empty if it has none yet, since it is new or was killed.

    Raises: UserError if it is damaged.
    """
    path = folder.path / _results_name(folder.spec())
    try:
        return dict(json.loads(path.read_text(encoding="utf-8", errors="surrogatepass")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(folder, path) from error


def read_extracted(folder: RunFolder, task: str) -> dict[int, dict[str, Any]]:
    """Sample -> filter -> what the filter took as the answer, of one task; empty if the files are not written yet.

    Raises: UserError if they are damaged.
    """
    path = folder.path / _samples_name(folder.spec(), task)
    found: dict[int, dict[str, Any]] = {}
    try:
        for line in path.read_text(encoding="utf-8", errors="surrogatepass").split("\n"):
            if line:
                row = json.loads(line)
                found.setdefault(row["doc_id"], {})[row["filter"]] = row["filtered_resps"]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, path) from error
    return found


def _results_name(spec: Spec) -> str:
    return f"{sanitize_model_name(spec['model']['name'])}/results_{_stamp(spec)}.json"


def _samples_name(spec: Spec, task: str) -> str:
    return f"{sanitize_model_name(spec['model']['name'])}/samples_{sanitize_task_name(task)}_{_stamp(spec)}.jsonl"


def _stamp(spec: Spec) -> str:
    return str(spec["created"]).replace(":", "-")


def _damaged(folder: RunFolder, path: Path) -> UserError:
    return UserError(
        f"{path.name} of run {folder.id} is damaged."
        f" `python -m llm_app benchmark --resume {folder.id}` writes it anew.",
        param="run",
    )


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
        "proofbench": {
            "run": spec["id"], "version": spec["program"], "identity": dict(model), "asked": spec["asked"],
            **({"groups": spec["groups"]} if "groups" in spec else {}),
        },
    }
