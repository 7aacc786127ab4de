"""What a training run will do, known before it starts: steps, tokens, time, memory, and what is wrong with the data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from eval.tasks.rows import rows_of, shipped
from eval.types import EvaluationError
from llm_app.config import Settings
from llm_app.data.audit import LENGTHS, Audit, BenchmarkRow, alike, audit
from llm_app.data.mix import DatasetSpec, load
from llm_app.data.types import BadRow, Note, Origin
from llm_app.engine.catalog import ModelEntry
from llm_app.engine.fit import free_bytes
from llm_app.engine.sources import open_source
from llm_app.errors import UserError
from llm_app.jobs.train_examples import Seen, Tokens, check_learnable, read_part, told_of_pieces
from llm_app.jobs.train_forecast import FORWARD_SHARE, Forecast, earlier, expected, forecast, trial
from llm_app.jobs.train_material import split_material
from llm_app.options import Text, options_of
from llm_app.training.config import TrainConfig
from llm_app.training.encode import Encoded, hides_tools, spans, told_of_masked
from llm_app.training.need import device_of, max_length, need
from llm_app.training.order import Order
from llm_app.training.pairs import Pair
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
    learn from. `n_alike`: examples held back that share 13 words in a row with one that is trained on. `has_pairs`:
    what is counted are pairs of a better and a worse answer, and tokens of both answers are those trained.
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
    has_pairs: bool = False


def plan(
    entry: ModelEntry, datasets: Sequence[DatasetSpec], config: TrainConfig, settings: Settings, *,
    benchmarks: Sequence[str] | None = None, has_trial: bool = False, now: datetime | None = None,
) -> TrainPlan:
    """Read and encode all the data and count; nothing is trained but, if `has_trial`, a few short steps.

    `benchmarks`: tasks whose rows the data must not hold; None takes those that come with the program.
    Raises: UserError if the run could not be made: no usable rows, nothing to learn, an unknown target or benchmark.
    """
    source = open_source(entry)
    tokenizer, length = source.tokenizer(), max_length(source, config)
    material = split_material(load(datasets, config.seed), (config.validation, config.test), config.seed, now)
    parts = [
        read_part(part, tokenizer, config, length, material.now)
        for part in (material.train, material.validation, material.test)
    ]
    bad_rows = (*material.loaded.bad_rows, *(row for part in parts for row in part.bad_rows))
    check_learnable(parts[0], config, length, bad_rows)
    train, validation = parts[0].tokens, parts[1].tokens
    needed = need(source, config, train)
    order = Order.of(len(train), config)
    n_steps = order.n_steps(config)
    n_epochs = n_steps / order.n_an_epoch
    n_tokens = round(n_epochs * _n_tokens(train))
    n_validated = (N_VALIDATIONS + 1) * _n_tokens(validation)
    rows = list(_rows(benchmarks, settings))
    measured = trial(entry.name, datasets, config, settings) if has_trial else earlier(entry.name, config, settings)
    everything = [seen for part in parts for seen in part.seen]
    examples = [seen.example for seen in everything]
    return TrainPlan(
        len(train), len(validation), length, n_steps, n_tokens,
        n_trained_tokens=round(n_epochs * sum(map(_n_learned_from, train))),
        n_learned=needed.n_learned if needed else None,
        forecast=forecast(
            measured, needed, n_tokens + FORWARD_SHARE[config.objective] * n_validated, free_bytes(device_of(config))
        ),
        settings=changed(config),
        shown=tuple(_shown(seen, tokenizer) for seen in parts[0].seen[:N_SHOWN]),
        audit=audit(examples, rows, n_cut=[seen.pieces[0].n_cut for seen in everything]),
        origins=tuple(example.origin for example in examples),
        n_untrained=sum(not any(map(_n_learned_from, seen.pieces)) for seen in everything),
        bad_rows=bad_rows,
        notes=(*material.loaded.notes, *told_of_pieces(parts[:2], length), *_template_notes(everything, tokenizer)),
        n_test=len(parts[2].seen),
        n_alike=len(alike([*parts[1].examples, *parts[2].examples], parts[0].examples)),
        has_pairs=config.objective == "dpo",
    )  # fmt: skip


def _n_tokens(examples: Sequence[Tokens]) -> int:
    return sum(len(each.ids) for each in examples)


def _n_learned_from(example: Tokens) -> int:
    return example.n_answers if isinstance(example, Pair) else example.n_trained


def changed(config: TrainConfig) -> tuple[Changed, ...]:
    """The settings that are not the defaults."""
    values = [(field, info, getattr(config, field.name)) for field, info in options_of(TrainConfig)]
    return tuple(
        Changed(field.name, info.label, value, field.default) for field, info, value in values if value != field.default
    )


def _shown(seen: Seen, tokenizer: Any) -> Shown:
    """The example, or the first piece of it."""
    first = seen.pieces[0]
    pieces = tuple(spans(_one_after_the_other(first) if isinstance(first, Pair) else first, tokenizer))
    return Shown(seen.example.origin, pieces, len(first.ids), _n_learned_from(first), first.n_cut)


def _one_after_the_other(pair: Pair) -> Encoded:
    """The question with the better answer, then with the worse."""
    n = len(pair.prompt_ids)
    trained = [False] * n + [True] * len(pair.chosen_ids) + [False] * n + [True] * len(pair.rejected_ids)
    return Encoded(pair.ids, trained, pair.n_cut)


def _template_notes(everything: Sequence[Seen], tokenizer: Any) -> Iterator[Note]:
    """What the chat template does not show, or cannot teach."""
    n = sum(bool(seen.example.tools) for seen in everything)
    if n and hides_tools(tokenizer):
        yield Note(
            f"This model's chat template does not show the tools that {n:,} examples name.",
            f"该模型的对话模板不显示工具，有 {n:,} 个样本声明了工具。",
        )
    yield from told_of_masked([piece for seen in everything for piece in seen.pieces if isinstance(piece, Encoded)])


def _rows(benchmarks: Sequence[str] | None, settings: Settings) -> Iterator[BenchmarkRow]:
    try:
        for task, number, texts in rows_of(shipped() if benchmarks is None else benchmarks, settings.data):
            yield BenchmarkRow(task, number, texts)
    except EvaluationError as error:
        raise UserError(str(error), param="benchmarks") from error


def sentences(made: TrainPlan) -> Iterator[Text]:
    """What a person wants to know before the start, in English and Chinese."""
    what = ("pairs", "成对样本") if made.has_pairs else ("examples", "训练样本")
    learned = ("in the answers compared", "位于被比较的回答中") if made.has_pairs else ("of them trained", "参与训练")
    yield (
        f"{made.n_train:,} {what[0]} to train on, {made.n_validation:,} to choose the weights by,"
        f' {made.n_test:,} held back for "Did it help?" alone; {made.n_steps:,} steps,'
        f" {made.n_tokens:,} tokens, {made.n_trained_tokens:,} {learned[0]}",
        f"{what[1]} {made.n_train:,} 个，用于挑选权重的验证样本 {made.n_validation:,} 个，"
        f"只留给“有没有帮助？”的测试样本 {made.n_test:,} 个；共 {made.n_steps:,} 步，"
        f"{made.n_tokens:,} 个词元，其中{learned[1]} {made.n_trained_tokens:,} 个",
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
