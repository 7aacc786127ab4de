"""What a training run will do, known before it starts: steps, tokens, time, memory, and what is wrong with the data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eval.tasks.rows import rows_of, shipped
from eval.types import EvaluationError
from llm_app.config import Settings
from llm_app.data.audit import LENGTHS, Audit, BenchmarkRow, alike, audit
from llm_app.data.mix import DatasetSpec, Loaded, load
from llm_app.data.split import split
from llm_app.data.types import BadRow, Example, Note, Origin
from llm_app.engine.catalog import ModelEntry
from llm_app.engine.fit import free_bytes
from llm_app.engine.sources import open_source
from llm_app.errors import UserError
from llm_app.jobs.train_forecast import Forecast, earlier, expected, forecast, trial
from llm_app.options import Text, options_of
from llm_app.training.config import TrainConfig
from llm_app.training.encode import Encoded, check_trainable, encode, hides_tools, spans, told_of_masked
from llm_app.training.need import device_of, max_length, need
from llm_app.training.order import Order
from llm_app.training.pairs import Pair, encode_pair
from llm_app.training.trainer import N_VALIDATIONS

N_SHOWN, N_LISTED = 3, 10


@dataclass(frozen=True)
class Shown:
    """An example as the model sees it: its text in pieces, each trained or not."""

    origin: Origin
    spans: tuple[tuple[str, bool], ...]
    n_tokens: int
    n_trained: int
    n_cut: int


@dataclass(frozen=True)
class Changed:
    """A setting that is not the default."""

    name: str
    label: Text
    value: Any
    default: Any


@dataclass(frozen=True)
class TrainPlan:
    """Everything that a person should see before pressing Start.

    `n_tokens` and `n_trained_tokens` are those of all steps; `n_learned`: numbers that are trained, None if only
    loading would tell; `origins`: of the examples that the audit counts; `n_untrained` of them have no token to
    learn from. `n_alike`: examples held back that share 13 words in a row with one that is trained on.
    """

    n_train: int
    n_validation: int
    max_length: int
    n_steps: int
    n_tokens: int
    n_trained_tokens: int
    n_learned: int | None
    forecast: Forecast
    settings: tuple[Changed, ...]
    shown: tuple[Shown, ...]
    audit: Audit
    origins: tuple[Origin, ...]
    n_untrained: int
    bad_rows: tuple[BadRow, ...]
    notes: tuple[Note, ...]
    n_test: int = 0
    n_alike: int = 0


def plan(
    entry: ModelEntry, datasets: Sequence[DatasetSpec], config: TrainConfig, settings: Settings, *,
    benchmarks: Sequence[str] | None = None, has_trial: bool = False, now: datetime | None = None,
) -> TrainPlan:
    """Read and encode all the data and count; nothing is trained but, if `has_trial`, a few short steps.

    `benchmarks`: tasks whose rows the data must not hold; None takes those that come with the program.
    Raises: UserError if the run could not be made: no usable rows, nothing to learn, an unknown target or benchmark.
    """
    loaded, source = load(datasets, config.seed), open_source(entry)
    tokenizer, length = source.tokenizer(), max_length(source, config)
    data = _Data(loaded, config, tokenizer, length, now)
    train = [encoded for _, encoded in data.train]
    check_trainable(train, length, data.bad_rows)
    needed = need(source, config, train)
    order = Order.of(len(train), config)
    n_steps = order.n_steps(config)
    n_epochs = n_steps / order.n_an_epoch
    n_tokens = round(n_epochs * sum(len(each.ids) for each in train))
    n_validated = (N_VALIDATIONS + 1) * sum(len(each.ids) for _, each in data.validation)
    rows = list(_rows(benchmarks, settings))
    measured = trial(entry.name, datasets, config, settings) if has_trial else earlier(entry.name, config, settings)
    held = [*data.validation, *data.test]
    everything = [*data.train, *held]
    examples = [example for example, _ in everything]
    return TrainPlan(
        len(train), len(data.validation), length, n_steps, n_tokens,
        n_trained_tokens=round(n_epochs * sum(each.n_trained for each in train)),
        n_learned=needed.n_learned if needed else None,
        forecast=forecast(measured, needed, n_tokens, n_validated, free_bytes(device_of(config))),
        settings=changed(config),
        shown=tuple(_shown(example, encoded, tokenizer) for example, encoded in data.train[:N_SHOWN]),
        audit=audit(examples, rows, n_cut=[encoded.n_cut for _, encoded in everything]),
        origins=tuple(example.origin for example in examples),
        n_untrained=sum(not encoded.n_trained for _, encoded in everything),
        bad_rows=tuple(data.bad_rows), notes=(
            *loaded.notes, *_hidden_tools(examples, tokenizer), *told_of_masked([encoded for _, encoded in everything]),
        ),
        n_test=len(data.test),
        n_alike=len(alike([example for example, _ in held], [example for example, _ in data.train])),
    )  # fmt: skip


def changed(config: TrainConfig) -> tuple[Changed, ...]:
    """The settings that are not the defaults."""
    values = [(field, info, getattr(config, field.name)) for field, info in options_of(TrainConfig)]
    return tuple(
        Changed(field.name, info.label, value, field.default) for field, info, value in values if value != field.default
    )


class _Data:
    """The examples as the run will split and encode them."""

    def __init__(
        self, loaded: Loaded, config: TrainConfig, tokenizer: Any, length: int, now: datetime | None
    ) -> None:
        self.bad_rows = list(loaded.bad_rows)
        self._config, self._tokenizer, self._length, self._now = config, tokenizer, length, now
        self._made: dict[int, Encoded] = {}  # by id(): a weight repeats an example as the same object
        parts = split(loaded.examples, config.validation, config.test, config.seed)
        self.train, self.validation, self.test = map(self._encoded, parts)

    def _encoded(self, examples: Sequence[Example]) -> list[tuple[Example, Encoded]]:
        kept = []
        for example in examples:
            try:
                if id(example) not in self._made:
                    self._made[id(example)] = self._tokens(example)
                kept.append((example, self._made[id(example)]))
            except UserError as error:
                self.bad_rows.append(BadRow(example.origin, error.message))
        return kept

    def _tokens(self, example: Example) -> Encoded:
        if self._config.objective == "dpo":
            return _one_after_the_other(
                encode_pair(example, self._tokenizer, max_length=self._length, now=self._now)
            )
        return encode(
            example, self._tokenizer, max_length=self._length, responses_only=self._config.responses_only,
            now=self._now,
        )


def _one_after_the_other(pair: Pair) -> Encoded:
    """The question with the better answer, then with the worse: as many tokens as pass through the model."""
    n = len(pair.prompt_ids)
    trained = [False] * n + [True] * len(pair.chosen_ids) + [False] * n + [True] * len(pair.rejected_ids)
    return Encoded(pair.ids, trained, pair.n_cut)


def _shown(example: Example, encoded: Encoded, tokenizer: Any) -> Shown:
    pieces = tuple(spans(encoded, tokenizer))
    return Shown(example.origin, pieces, len(encoded.ids), encoded.n_trained, encoded.n_cut)


def _hidden_tools(examples: Sequence[Example], tokenizer: Any) -> Iterator[Note]:
    n = sum(bool(example.tools) for example in examples)
    if n and hides_tools(tokenizer):
        yield Note(
            f"This model's chat template does not show the tools that {n:,} examples name.",
            f"该模型的对话模板不显示工具，有 {n:,} 个样本声明了工具。",
        )


def _rows(benchmarks: Sequence[str] | None, settings: Settings) -> Iterator[BenchmarkRow]:
    try:
        for task, number, texts in rows_of(shipped() if benchmarks is None else benchmarks, settings.data):
            yield BenchmarkRow(task, number, texts)
    except EvaluationError as error:
        raise UserError(str(error), param="benchmarks") from error


def sentences(made: TrainPlan) -> Iterator[Text]:
    """What a person wants to know before the start, in English and Chinese."""
    yield (
        f"{made.n_train:,} examples to train on, {made.n_validation:,} to choose the weights by,"
        f' {made.n_test:,} held back for "Did it help?" alone; {made.n_steps:,} steps,'
        f" {made.n_tokens:,} tokens, {made.n_trained_tokens:,} of them trained",
        f"训练样本 {made.n_train:,} 个，用于挑选权重的验证样本 {made.n_validation:,} 个，"
        f"只留给“有没有帮助？”的测试样本 {made.n_test:,} 个；共 {made.n_steps:,} 步，"
        f"{made.n_tokens:,} 个词元，其中参与训练 {made.n_trained_tokens:,} 个",
    )
    if made.n_learned is not None:
        yield f"{made.n_learned:,} numbers learn", f"可训练参数 {made.n_learned:,} 个"
    yield from expected(made.forecast)
    if made.settings:
        english = ", ".join(f"{each.name} {_value(each.value)}" for each in made.settings)
        chinese = "，".join(f"{each.label[1]} {_value(each.value)}" for each in made.settings)
        yield f"Not the defaults: {english}", f"非默认设置：{chinese}"
    yield from _counts(made)


def _counts(made: TrainPlan) -> Iterator[Text]:
    found = made.audit
    counted = (
        (len(made.bad_rows), "Rows left out", "未采用的行"),
        (len(found.over_long), f"Examples longer than {made.max_length:,} tokens, which lose their end",
         f"超过 {made.max_length:,} 个词元、结尾被截去的样本"),
        (made.n_untrained, "Examples without a token to learn from", "没有可训练词元的样本"),
        (len(found.empty), "Examples with an empty answer", "回答为空的样本"),
        (len(found.duplicates), "Examples that repeat another one", "重复的样本"),
        (made.n_alike, f"Examples held back that share {LENGTHS[-1]} words in a row with one that is trained on",
         f"与某个训练样本有 {LENGTHS[-1]} 个连续词相同的留出样本"),
        (found.n_leaked(), "Examples that share 8 words in a row with a benchmark", "与评测集有 8 个连续词相同的样本"),
        (found.n_leaked(13), "Of these, with 13 words in a row", "其中有 13 个连续词相同的"),
    )  # fmt: skip
    yield from ((f"{english}: {n:,}", f"{chinese}：{n:,}") for n, english, chinese in counted if n)
    if found.checked:
        n_short = sum(n for _, n in found.checked.values())
        rows = [(name, f"{n:,}") for name, (n, _) in found.checked.items()]
        yield (
            f"Compared with the rows of {', '.join(f'{name} ({n})' for name, n in rows)};"
            f" {n_short:,} of them are too short to be found",
            f"已与以下评测集逐行比对：{'，'.join(f'{name}（{n} 行）' for name, n in rows)}；"
            f"其中 {n_short:,} 行过短，无法比对",
        )


def _value(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def plan_text(made: TrainPlan) -> str:
    """The plan for a terminal: the sentences, what is wrong with rows, and the examples with what is trained in ⟦ ⟧."""
    lines = [english for english, _ in sentences(made)]
    lines += [f"  {row.origin.dataset}, line {row.origin.line}: {row.reason}" for row in made.bad_rows[:N_LISTED]]
    for leak in made.audit.leaks[:N_LISTED]:
        where = f"{leak.origin.dataset}, line {leak.origin.line}"
        lines.append(f"  {where} and {leak.benchmark} {leak.sample} share {leak.n} words: {leak.shared}")
    lines += [note.text for note in made.notes]
    for shown in made.shown:
        text = "".join(f"⟦{piece}⟧" if is_trained else piece for piece, is_trained in shown.spans)
        lines += ["", f"--- {shown.origin.dataset}, line {shown.origin.line}: {shown.n_tokens:,} tokens,"
                  f" {shown.n_trained:,} trained", text]  # fmt: skip
    return "\n".join(lines)
