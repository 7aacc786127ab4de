"""What is known before the start: requests, tokens, time, memory, and the first prompt as the model gets it."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from eval.report.markup import element
from eval.tasks.harness import Suite, TaskOptions
from eval.types import Sample
from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.engine.loading import LoadedModel
from llm_app.errors import UserError
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.benchmark import Benchmark, answering, load_suite, resume, start
from llm_app.jobs.command import command_of
from llm_app.jobs.doctor import Diagnosis, Finding, examine
from llm_app.jobs.estimate import Estimate, Speed, count, estimate, measuring
from llm_app.jobs.files import Filed
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.ruler_run import RulerRun
from llm_app.jobs.store import RunStore
from llm_app.options import Text
from llm_app.remote.address import REMOTE
from llm_app.services import Services
from llm_app.web.benchmark.config import BenchmarkConfig
from llm_app.web.benchmark.results_markup import block, passage, said
from llm_app.web.failures import SentenceError
from llm_app.web.runs.bring import check_model
from llm_app.web.runs.views import duration, short
from llm_app.web.text import both, filled, pair
from llm_app.web.views import SEPARATOR, gigabytes, joined, notice

MAX_PROMPTS = 5  # first prompts that are shown, of as many tasks
MAX_NAMED = 4  # tasks that a finding names
MAX_SPEEDS = 200  # choices of which the measured speed is remembered

Phase = Literal["phase_tasks", "phase_prompts"]


@dataclass(frozen=True)
class Found:
    """All that is known. `n_models`: 2 where the base is asked as well. Speeds may be measured yet, or not at all."""

    estimate: Estimate
    diagnosis: Diagnosis
    options: TaskOptions
    n_models: int
    time: Literal["measured", "measuring", "unmeasured"] = "measured"


@dataclass(frozen=True)
class Elsewhere:
    """What is known where another server answers: it alone has the tokenizer, and nobody here knows its speed."""

    n_samples: int
    n_requests: int
    server: str
    options: TaskOptions


class Tasks:
    """Reads tasks for the loaded model, which must be the one that is there when their turn comes."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._host, self._settings, self._queue = services.host, services.settings, services.queue
        self._speeds: dict[Hashable, Speed] = {}  # of what was looked at before: the same is not measured twice

    def look(self, names: Sequence[str], config: BenchmarkConfig) -> Iterator[Phase | Found | Elsewhere]:
        """Phases, then what was found, first without the time, which is not measured while a run is under way.

        Raises: UserError for no model, missing data, options that do not go together.
        """
        host, options = self._host, self.options(config)
        yield "phase_tasks"
        remote = host.remote
        if remote is not None:
            samples = _samples(load_suite(list(names), options, self._settings, answering(host, None)))
            n_requests = sum(len(sample.requests) for sample in samples)
            yield Elsewhere(len(samples), n_requests, remote.name, options)
            return
        model = EngineModel(host, adapter=host.adapter)
        suite = load_suite(list(names), options, self._settings, model)
        yield "phase_prompts"
        diagnosis = examine(model, host.loaded, suite.tasks, uses_chat_template=options.uses_chat_template)
        work = count(host.loaded, model, suite.tasks)
        n_models = 2 if config.compare_with_base else 1
        loaded = host.loaded
        identity = loaded.identity.with_adapter(loaded.adapters.digest(host.adapter))
        key = identity, loaded.device.type, tuple(names), work
        speed = self._speeds.get(key)
        if speed is None:
            is_busy = bool(self._queue.jobs())
            counted = Estimate(work, Speed(), 0.0, False, loaded.n_bytes, 0)
            known = Found(counted, diagnosis, options, n_models, "unmeasured" if is_busy else "measuring")
            yield known
            if is_busy:
                return
            for measured in measuring(host, model, suite.tasks, adapter=host.adapter):
                speed = measured
                yield known  # a moment in which whoever chose something else meanwhile leaves off
            if len(self._speeds) >= MAX_SPEEDS:
                self._speeds.clear()
            self._speeds[key] = speed or Speed()
        made = estimate(host, model, suite.tasks, work=work, speed=speed)
        yield Found(made, diagnosis, options, n_models)

    def start(self, names: Sequence[str], config: BenchmarkConfig, store: RunStore) -> list[Benchmark]:
        """New runs, not yet in line: one, or the base's before the adapter's.

        Raises: UserError.
        """
        host, options = self._host, self.options(config)
        made: list[Benchmark] = []
        try:
            for adapter in [None, host.adapter] if config.compare_with_base else [host.adapter]:
                made.append(start(host, list(names), options, self._settings, adapter=adapter, store=store))
        except UserError:
            for benchmark in made:
                store.delete(benchmark.folder.id)
            raise
        return made

    def resume(self, folder: RunFolder) -> Filed:
        """What is left of a run.

        Raises: UserError.
        """
        self._refuse_passing_models()
        check_model(folder.spec(), self._services)
        return Filed(resume(self._host, folder, self._settings))

    def options(self, config: BenchmarkConfig) -> TaskOptions:
        """The options as the tasks take them.

        Raises: UserError where they do not go with this model or this page.
        """
        self._refuse_passing_models()
        if config.allows_code and self._settings.is_public:
            raise SentenceError("no_code_here")
        options = config.task_options(_loaded(self._host))
        if config.compare_with_base and self._host.adapter is None:
            raise SentenceError("no_adapter")
        return options

    def _refuse_passing_models(self) -> None:
        """Raises: UserError while precisions are measured: the model that is loaded now will be gone, or soon is."""
        if self._queue.holds(RulerRun):
            raise SentenceError("ruler_under_way")


def command(names: Sequence[str], config: BenchmarkConfig, host: Host, settings: Settings) -> str:
    """The command line that does the same; empty without a model or a choice."""
    try:
        loaded = _loaded(host)
    except UserError:
        return ""
    if not names:
        return ""
    name, precision = (loaded.entry.name, loaded.precision) if loaded else (host.status().model, REMOTE)
    model = {"name": name, "adapter_name": host.adapter, "precision": precision}
    options = asdict(config.task_options(loaded))
    spec = {"model": model, "context": loaded.n_context if loaded else 0, "asked": list(names), "options": options}
    line = shown_command(spec, settings)
    return f"{line} --compare-with-base" if config.compare_with_base else line


def shown_command(spec: Mapping[str, Any], settings: Settings) -> str:
    """The command that repeats a run; on a public page without the folders in which visitors' own files lie."""
    if settings.is_public:
        spec = {**spec, "asked": [short(name) for name in spec["asked"]]}
    return command_of(spec)


def _loaded(host: Host) -> LoadedModel | None:
    """The model on this machine; None where another server's answers. Raises: UserError where none does."""
    return host.loaded if host.remote is None else None


def _samples(suite: Suite) -> list[Sample]:
    return [sample for task in suite.tasks.values() for sample in task.samples]


def facts(found: Found | Elsewhere) -> str:
    """The card: figures in a row, then what is wrong with the prompts."""
    if isinstance(found, Elsewhere):
        requests = ("fact_requests", _same(f"{found.n_requests:,}"), filled("fact_samples", n=found.n_samples))
        warning = notice(both("code_warning"), "warning") if found.options.allows_code else ""
        return _card([requests]) + notice(both("sent_elsewhere", server=found.server)) + warning
    made, work = found.estimate, found.estimate.work
    n = found.n_models
    generated = filled("fact_generated", n=work.n_new) if work.n_new else ("", "")
    scored = filled("fact_scored", n=work.n_scored_tokens) if work.n_scored_tokens else ("", "")
    extra = filled("memory_extra", size=_size(made.cache_bytes)) if made.cache_bytes else ("", "")
    figures: list[tuple[str, Text, Text]] = [
        ("fact_requests", _same(f"{work.n_requests * n:,}"), filled("fact_samples", n=work.n_samples * n)),
        ("fact_tokens", _same(f"{work.n_prompt_tokens * n:,}"), joined(scored, generated)),
        ("fact_time", *_time(found)),
        ("fact_memory", _same(_size(made.weights_bytes + made.cache_bytes)), extra),
        ("fact_download", filled("no_download"), filled("all_here")),
    ]
    return _card(figures) + "".join(_warnings(found))


def _card(figures: Sequence[tuple[str, Text, Text]]) -> str:
    cells = "".join(
        f'<div><dt>{both(name)}</dt><dd>{pair(value)}</dd><dd class="more">{pair(more)}</dd></div>'
        for name, value, more in figures
    )
    return f'<dl class="facts">{cells}</dl>'


def _time(found: Found) -> tuple[Text, Text]:
    """(how long, how that is known)."""
    if found.time != "measured":
        return _same("–"), filled("time_measuring" if found.time == "measuring" else "time_unmeasured")
    made = found.estimate
    english, chinese = duration(max(1.0, made.seconds * found.n_models))
    how = filled("measured_full" if made.is_at_most else "measured")
    time = filled("about_time", time=english)[0], filled("about_time", time=chinese)[1]
    return time, filled("twice") if found.n_models > 1 else how


def _size(n_bytes: int) -> str:
    return f"{gigabytes(n_bytes)} GB" if n_bytes >= 5e7 else f"{n_bytes / 1e6:.1f} MB"


def _same(words: str) -> Text:
    return words, words


def _warnings(found: Found) -> Iterator[str]:
    if found.options.allows_code:
        yield notice(both("code_warning"), "warning")
    if found.estimate.work.n_cut:
        yield notice(both("prompts_cut", n=found.estimate.work.n_cut), "warning")
    for finding in found.diagnosis.findings:
        if finding.name != "cut-prompt":  # counted above
            where = filled("in_tasks", tasks=_named(finding))
            kind = "warning" if finding.severity == "warning" else "info"
            yield notice(f'{pair(finding.text)} <span class="request">{pair(where)}</span>', kind)


def _named(finding: Finding) -> str:
    shown = ", ".join(finding.tasks[:MAX_NAMED])
    return shown + (" …" if len(finding.tasks) > MAX_NAMED else "")


def prompts(found: Found | Elsewhere) -> str:
    """The first prompts exactly as they are sent, special tokens and all, with what is scored after them."""
    if isinstance(found, Elsewhere):
        return ""
    name = "with_template" if found.options.uses_chat_template else "without_template"
    shown = [element("p", said(name), class_="quiet")]
    for prompt in found.diagnosis.prompts[:MAX_PROMPTS]:
        head = element("h5", said("first_prompt_of", task=prompt.task, n=len(prompt.tokens)))
        after = (
            element("div", element("h5", said("scored_after")), passage(prompt.continuation), class_="part")
            if prompt.continuation else None
        )  # fmt: skip
        shown.append(element("div", head, passage(_sent(prompt.tokens, prompt.text)), after, class_="part"))
    return block(*shown)


def _sent(tokens: Sequence[tuple[int, str]], words: str) -> str:
    """The prompt with the special tokens that the tokenizer put before it."""
    first = tokens[0][1] if tokens else ""
    return first + words if first and not words.startswith(first) and len(first) > 1 and first[0] == "<" else words


def loaded_line(services: Services) -> str:
    """Model, precision and adapter that a run would be of."""
    remote = services.host.remote
    if remote is not None:
        return _line(SEPARATOR.join([pair(_same(remote.name)), both("remote_answers")]))
    try:
        loaded = services.host.loaded
    except UserError:
        return _line(both("asked_model_none"))
    adapter = services.host.adapter
    parts = [pair(_same(loaded.entry.title)), pair(_same(loaded.precision))]
    parts.append(pair(_same(adapter)) if adapter else both("no_adapter_on"))
    return _line(SEPARATOR.join(parts))


def unknown_line() -> str:
    """The same before it is known: the page is built before any model is loaded."""
    return _line("…")


def _line(words: str) -> str:
    return f'<div class="asked-model"><span class="caption">{both("asked_model")}</span><p>{words}</p></div>'


