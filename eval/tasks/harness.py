"""Every task of lm-evaluation-harness by its name: its prompts, few-shot examples, filters and metrics as they are."""

import hashlib
import json
import random
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
from lm_eval.api.group import Group
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.api.task import Task as LmTask
from lm_eval.utils import handle_non_serializable, hash_string

from eval.tasks.book import named, names
from eval.tasks.instances import requests_of
from eval.tasks.loading import OWN, load_definitions
from eval.tasks.own import is_task_file, own_task
from eval.tasks.stderr import standard_error
from eval.tasks.suites import expand
from eval.types import Answer, EvaluationError, Model, Result, Sample

SEEDS = (0, 1234, 1234)  # the harness's own: of random, of numpy, of the few-shot examples
_drawing = threading.Lock()  # tasks draw from generators that the whole process shares: another thread would shift them


@dataclass(frozen=True)
class TaskOptions:
    """How tasks are asked. `n_shots` and `seed`: None is the task's own, `limit`: None is all samples."""

    n_shots: int | None = None
    limit: int | None = None
    seed: int | None = None
    uses_chat_template: bool = False
    allows_code: bool = False  # programs that the model writes may be run
    n_bootstrap: int = 100_000  # resamples for standard errors without a formula, as the harness; 0 gives none


class HarnessTask:
    """One task of the harness, as samples with requests; its scores are the harness's own."""

    def __init__(self, task: LmTask, options: TaskOptions, model: Model | None) -> None:
        self.harness = task
        self._options, self._model = options, model
        self._docs: dict[int, Any] = {}
        self._instances: dict[int, list[Instance]] = {}
        # The harness takes a limit of 0 for none.
        self.samples = [self._sample(i, doc) for i, doc in task.doc_iterator(limit=options.limit or None)]
        if not self.samples:
            raise EvaluationError(f"Task {self.name} has no samples in its data set.")

    @property
    def name(self) -> str:
        """The harness's name."""
        return str(self.harness.task_name)

    @property
    def version(self) -> str:
        """Version of the task definition."""
        return str(self.harness.VERSION)

    @property
    def n_shots(self) -> int:
        """Examples before each question."""
        return int(self.harness.get_config("num_fewshot") or 0)

    @property
    def runs_code(self) -> bool:
        """Whether scoring runs programs that the model wrote."""
        return bool(self.harness.get_config("unsafe_code"))

    def digest(self) -> str:
        """SHA-256 of everything that is asked and how it is scored: data, prompts, examples, order."""
        config = json.dumps(self.config(), sort_keys=True, default=str)
        lines = [config, *(repr((sample.id, sample.requests, sample.problem)) for sample in self.samples)]
        lines += [json.dumps(doc, sort_keys=True, default=str) for doc in self._docs.values()]
        return hashlib.sha256("\n".join(lines).encode("utf-8", errors="surrogatepass")).hexdigest()

    def config(self) -> dict[str, Any]:
        """The task's definition, without what is of this machine only."""
        config = dict(self.harness.dump_config())
        metadata = dict(config.get("metadata") or {})
        for key, value in metadata.pop("hub", {}).items():
            config.pop(key, None)
            if value is not None:
                config[key] = value
        source = metadata.pop("config_source", None)
        if source and "lm_eval" in Path(source).parts:
            parts = Path(source).parts
            metadata["config_source"] = "/".join(parts[len(parts) - parts[::-1].index("lm_eval") - 1 :])
        return {key: named(value) for key, value in (config | {"metadata": metadata}).items()}

    def score(self, sample: Sample, answers: Sequence[Answer]) -> Mapping[str, Any]:
        """Metrics of one sample by "metric,filter", as the harness takes them before it aggregates."""
        instances = self._answered(sample.id, answers)
        for filtering in self.harness._filters:
            filtering.apply(instances)
        scores = {}
        for name in instances[0].filtered_resps:
            filtered = [instance.filtered_resps[name] for instance in instances]
            for metric, value in self.harness.process_results(self._docs[sample.id], filtered).items():
                scores[f"{metric},{name}"] = value
        return scores

    def aggregate(self, results: Iterable[Result], *, n_bootstrap: int) -> dict[str, Any]:
        """The harness's scores and standard errors over the results that have no error."""
        columns: dict[tuple[str, str], list[Any]] = {}
        for row in self.logged(results):
            for metric in row["metrics"]:
                columns.setdefault((metric, row["filter"]), []).append(row[metric])
        scores: dict[str, Any] = {}
        for (metric, name), values in columns.items():
            function = self.harness.aggregation().get(metric, _mean)
            scores[f"{metric},{name}"] = function(values)
            scores[f"{metric}_stderr,{name}"] = standard_error(metric, function, values, n_bootstrap)
        n_scored = max((len(values) for values in columns.values()), default=0)
        return {"name": self.name, "alias": self.config().get("task_alias", self.name), "sample_len": n_scored} | scores

    def logged(self, results: Iterable[Result]) -> list[dict[str, Any]]:
        """Rows of the harness's samples file, filter by filter in the order of the samples.

        Where scoring runs programs that the model wrote, the scores are those of the results: none is run again.
        """
        scored = sorted((result for result in results if result.error is None), key=lambda result: result.sample)
        by_sample = {result.sample: self._answered(result.sample, result.answers) for result in scored}
        kept = {result.sample: result.scores for result in scored} if self.runs_code else {}
        everything = [instance for instances in by_sample.values() for instance in instances]
        if not everything:
            return []
        # All at once, as the harness does: a filter may look at more than one sample.
        for filtering in self.harness._filters:
            filtering.apply(everything)
        return [
            self._row(sample, instances, name, kept.get(sample))
            for name in everything[0].filtered_resps
            for sample, instances in by_sample.items()
        ]

    def _row(
        self, sample: int, instances: list[Instance], name: str, kept: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        doc = self._docs[sample]
        filtered = [instance.filtered_resps[name] for instance in instances]
        if kept is None:
            metrics = self.harness.process_results(doc, filtered)
        else:
            metrics = {
                metric: value for key, value in kept.items()
                for metric, _, filtering in [key.rpartition(",")] if filtering == name
            }
        target = self.harness.doc_to_target(doc)
        text = json.dumps(instances[0].doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
        return {
            "doc_id": sample,
            "doc": doc,
            "target": target,
            "arguments": [instance.args for instance in instances],
            "resps": [instance.resps for instance in instances],
            "filtered_resps": filtered,
            "filter": name,
            "metrics": list(metrics),
            "doc_hash": hash_string(text),
            "prompt_hash": hash_string(str(instances[0].arguments[0])),
            "target_hash": hash_string(str(target)),
            **metrics,
        }

    def _answered(self, sample: int, answers: Sequence[Answer]) -> list[Instance]:
        """Copies of the sample's instances with their answers, of which repeated ones have several."""
        given = iter(answers)
        return [
            replace(instance, resps=[next(given) for _ in range(instance.repeats or 1)], filtered_resps={})
            for instance in self._instances[sample]
        ]

    def _sample(self, number: int, doc: Any) -> Sample:
        self._docs[number] = doc
        chat = self._model.render if self._model is not None and self._options.uses_chat_template else None
        try:
            context = self.harness.fewshot_context(
                doc,
                num_fewshot=self.n_shots,
                system_instruction=None,
                apply_chat_template=chat is not None,
                fewshot_as_multiturn=chat is not None,
                chat_template=chat,
                gen_prefix=self.harness.doc_to_prefix(doc),
            )
            made = self.harness.construct_requests(
                doc=doc,
                ctx=context,
                metadata=(self.name, number, self.harness.get_config("repeats") or 1),
                apply_chat_template=chat is not None,
                chat_template=chat,
            )
            instances = made if isinstance(made, list) else [made]
            problem = self._problem(doc)
        except Exception as error:  # a task's own code, on data of any kind
            return Sample(number, (), f"the prompt could not be made: {type(error).__name__}: {error}")
        self._instances[number] = instances
        requests = tuple(r for instance in instances for r in requests_of(instance, self._options.seed or 0))
        return Sample(number, requests, problem)

    def _problem(self, doc: Any) -> str | None:
        """Why the answer could not be judged: the harness would count such a sample as wrong."""
        task = self.harness
        if task.OUTPUT_TYPE != "multiple_choice" or not isinstance(task, ConfigurableTask):
            return None
        if callable(task.config.process_results):
            return None
        choices = task.doc_to_choice(doc)
        gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
        for answer in gold if isinstance(gold, list) else [gold]:
            is_known = 0 <= answer < len(choices) if isinstance(answer, int) else answer in choices
            if not is_known:
                return f"the right answer ({answer!r}) is not among the {len(choices)} choices"
        return None


@dataclass(frozen=True)
class Suite:
    """Tasks in the order asked, the harness's groups that they belong to, and the tasks of each name asked."""

    tasks: Mapping[str, HarnessTask]
    groups: Mapping[str, Group]
    entries: Mapping[str, tuple[str, ...]]


def load_tasks(asked: Sequence[str], options: TaskOptions, *, data: Path | None, model: Model | None = None) -> Suite:
    """Tasks, groups and tags by the harness's names, with data from a folder laid out like the hub; suites; task files.

    `model` writes the prompts if the chat template is used, and counts tokens. One call at a time in this process.
    Raises: EvaluationError for an unknown name or missing data.
    """
    with _drawing:
        return _load_tasks(asked, options, data, model)


def _load_tasks(asked: Sequence[str], options: TaskOptions, data: Path | None, model: Model | None) -> Suite:
    seeds = SEEDS if options.seed is None else (options.seed,) * 3
    random.seed(seeds[0])
    numpy.random.seed(seeds[1])
    entries = expand(asked)
    known = [entry.task for entry in entries if not is_task_file(entry.task)]
    definitions = load_definitions(known, data, allows_code=options.allows_code)
    tasks: dict[str, HarnessTask] = {}
    groups: dict[str, Group] = {}
    found: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        name = entry.task
        loaded = _own(name, model, tasks) if is_task_file(name) else definitions[name]
        groups |= loaded.get("groups", {})
        shots, limit = entry.asked(options.n_shots, options.limit)
        given = replace(options, n_shots=shots, limit=limit)
        found[name] = tuple(loaded["tasks"])
        for task_name, task in loaded["tasks"].items():
            _set_shots(task, given.n_shots)
            task.set_fewshot_seed(seed=seeds[2])
            tasks[task_name] = HarnessTask(task, given, model)
    return Suite(tasks, groups, found)


def _own(path: str, model: Model | None, taken: Collection[str]) -> Any:
    task = own_task(Path(path), model.count_tokens if model is not None else None)
    name = task.task_name
    if name in taken or name in OWN or name in names():
        raise EvaluationError(f"{Path(path).name}: there is another task {name}; give this one a name of its own.")
    return {"tasks": {name: task}}


def _set_shots(task: LmTask, n_shots: int | None) -> None:
    own = task.get_config("num_fewshot")
    if n_shots is None:
        task.set_config("num_fewshot", own or 0)
    elif own != 0:  # a task that says 0 means it
        task.set_config("num_fewshot", n_shots)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
