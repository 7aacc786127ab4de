"""Rows of a table as examples: every row becomes one, or is listed with the reason."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llm_app.data import formats
from llm_app.data.table import Row, Table
from llm_app.data.turns import check_order, list_of, text_of, tools_of, turns_of
from llm_app.data.types import BadRow, Example, Origin, RowRefused, Turn, bad_row
from llm_app.errors import UserError

TRUE, FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")
# A dialogue in one text, as the first preference data of Anthropic had it.
_SPEAKER = re.compile(r"\n\n(Human|Assistant): ?")
QUESTION, ANSWER = ("the question", "问题"), ("the answer", "回答")


def to_examples(
    table: Table, mapping: formats.Mapping, dataset: str | None = None
) -> tuple[list[Example], list[BadRow]]:
    """Examples in the order of the rows, and the rows that became none, those that could not even be read among them.

    A row of several instances becomes several examples. `dataset` is their origin's name, else the table's.
    Raises: UserError if the mapping names a column that is not there, or lacks one that its layout needs.
    """
    dataset = dataset or table.name
    build = _builder(table, mapping)
    examples: list[Example] = []
    bad = [dataclasses.replace(row, origin=Origin(dataset, row.origin.line)) for row in table.problems]
    for row in table.rows:
        try:
            examples += (dataclasses.replace(found, origin=Origin(dataset, row.line)) for found in build(row))
        except RowRefused as error:
            bad.append(bad_row(dataset, row.line, error))
    return examples, sorted(bad, key=lambda row: row.origin.line)


def check_mapping(table: Table, mapping: formats.Mapping) -> None:
    """Raises: UserError if the mapping names a column that is not there, or lacks one that its layout needs."""
    for what in formats.COLUMNS:
        column = getattr(mapping, what)
        if column is not None and column not in table.columns:
            near = difflib.get_close_matches(column, table.columns, 1)
            hint = f" Is {near[0]!r} meant?" if near else ""
            there = ", ".join(table.columns[:20]) or "none"
            raise UserError(f"{table.name} has no column {column!r} for {what}; it has {there}.{hint}", param=what)
    if not mapping.is_chat and mapping.layout != "text":
        idle = next((what for what in formats.NOT_RAW if getattr(mapping, what)), None)
        if idle:
            raise UserError(f"Raw text has no place for {idle}; leave its column out, or use the template.", param=idle)
    for names in formats.NEEDS[mapping.layout]:
        if not any(getattr(mapping, name) for name in names.split()):
            what = names.split()[0]
            there = ", ".join(table.columns[:20]) or "none"
            raise UserError(
                f"{table.name}: say which column is the {what}; layout {mapping.layout} needs it. There are {there}.",
                param=what,
            )


def _builder(table: Table, mapping: formats.Mapping) -> Callable[[Row], list[Example]]:
    check_mapping(table, mapping)
    builders: Mapping[str, Callable[[formats.Mapping, Row], list[Example]]] = {
        "alpaca": _question, "prompt_completion": _question, "sharegpt": _conversation, "messages": _conversation,
        "preference": _preference, "text": _text, "none": _nothing,
    }  # fmt: skip
    build = builders[mapping.layout]

    def checked(row: Row) -> list[Example]:
        _refuse_bad_answer(mapping, row)
        return build(mapping, row)

    return checked


def _refuse_bad_answer(mapping: formats.Mapping, row: Row) -> None:
    if mapping.label is None:
        return
    value = str(_cell(row, mapping.label)).strip().lower()
    if value in FALSE:
        raise RowRefused("marked as a bad answer", "标记为不好的回答")
    if value not in TRUE:
        raise RowRefused(f"the label is {value[:20]!r}, neither true nor false", f"标签 {value[:20]!r} 既非真也非假")


def _question(mapping: formats.Mapping, row: Row) -> list[Example]:
    if mapping.instances is not None:
        return _instances(mapping, row)
    prompt = _cell(row, mapping.prompt)
    answer = _cell(row, mapping.response)
    if isinstance(prompt, list | dict):
        return [_example_of(mapping, row, _context(mapping, row), turns_of(answer, mapping))]
    text = text_of(answer, *ANSWER)
    if not mapping.is_chat:
        return [_raw(_asked(mapping, row), text)]
    return [_example_of(mapping, row, _context(mapping, row), [Turn("assistant", text, is_trained=True)])]


def _instances(mapping: formats.Mapping, row: Row) -> list[Example]:
    """An instruction with several inputs, each with its output, as the seed tasks of Self-Instruct have it."""
    instruction = text_of(_cell(row, mapping.prompt), *QUESTION)
    found = []
    for instance in list_of(_cell(row, mapping.instances), "instances", "实例"):
        if not isinstance(instance, dict):
            raise RowRefused("an instance is no object with input and output", "某个实例不是带输入和输出的对象")
        question = _joined(instruction, instance.get("input"))
        answer = Turn("assistant", text_of(instance.get("output"), *ANSWER), is_trained=True)
        found.append(_example_of(mapping, row, _with_system(mapping, row, [Turn("user", question)]), [answer]))
    if not found:
        raise RowRefused("there is no instance", "没有实例")
    return found


def _conversation(mapping: formats.Mapping, row: Row) -> list[Example]:
    turns = _with_system(mapping, row, turns_of(_cell(row, mapping.messages), mapping))
    if mapping.label is not None:
        # It was the last answer that was judged.
        turns = [*_not_trained(turns[:-1]), *turns[-1:]]
    return [_example_of(mapping, row, [], turns)]


def _preference(mapping: formats.Mapping, row: Row) -> list[Example]:
    chosen, rejected = _cell(row, mapping.chosen), _cell(row, mapping.rejected)
    if isinstance(chosen, str) and isinstance(rejected, str) and not _are_dialogues(mapping, chosen, rejected):
        better = text_of(chosen, "the chosen answer", "优选回答")
        worse = text_of(rejected, "the rejected answer", "被拒回答")
        _refuse_same(better, worse)
        if not mapping.is_chat:
            return [_raw(_asked(mapping, row), better, worse)]
        answer = [Turn("assistant", better, is_trained=True)]
        return [_example_of(mapping, row, _not_trained(_context(mapping, row)), answer, worse)]
    good, bad = _said(chosen, mapping), _said(rejected, mapping)
    if not good or not bad or good[-1].role != "assistant" or bad[-1].role != "assistant":
        raise RowRefused("chosen and rejected do not both end with an answer", "优选与被拒的内容没有都以回答结束")
    if [(turn.role, turn.content) for turn in good[:-1]] != [(turn.role, turn.content) for turn in bad[:-1]]:
        raise RowRefused("chosen and rejected differ before their last turn", "优选与被拒的内容在最后一轮之前就不同")
    _refuse_same(good[-1].content, bad[-1].content)
    # Lists of messages hold what was asked as well; then a column for it says the same again.
    context = _with_system(mapping, row, good[:-1]) if good[:-1] else _context(mapping, row)
    return [_example_of(mapping, row, _not_trained(context), good[-1:], bad[-1].content)]


def _text(mapping: formats.Mapping, row: Row) -> list[Example]:
    text = text_of(_cell(row, mapping.text), "the text", "文本")
    if not mapping.split_at:
        return [_raw("", text)]
    before, separator, after = text.rpartition(mapping.split_at)
    if not separator:
        raise RowRefused(f"{mapping.split_at!r} is not in the text", f"文本中没有 {mapping.split_at!r}")
    return [_raw(text_of(before, *QUESTION) + separator, text_of(after, *ANSWER))]


def _nothing(mapping: formats.Mapping, row: Row) -> list[Example]:
    if "turns" in row.cells:
        raise RowRefused("questions without answers: nothing to learn", "只有问题没有回答，无可学习")
    raise RowRefused("its layout is not known: say which columns hold question and answer", "布局未知：请指明问答列")


def _example_of(
    mapping: formats.Mapping, row: Row, context: Sequence[Turn], answer: Sequence[Turn], rejected: str | None = None
) -> Example:
    turns = (*context, *answer)
    check_order(turns)
    tools = tools_of(_cell(row, mapping.tools)) if mapping.tools else ()
    return Example(Origin("", row.line), turns=turns, tools=tools, rejected=rejected)


def _raw(prompt: str, completion: str, rejected: str | None = None) -> Example:
    return Example(Origin("", 0), prompt=prompt, completion=completion, rejected=rejected)


def _context(mapping: formats.Mapping, row: Row) -> list[Turn]:
    """What comes before the answer: system prompt, earlier questions and answers, the question."""
    if mapping.messages is not None:
        return _with_system(mapping, row, turns_of(_cell(row, mapping.messages), mapping))
    prompt = _cell(row, mapping.prompt)
    if isinstance(prompt, list | dict):
        return _with_system(mapping, row, turns_of(prompt, mapping))
    turns: list[Turn] = []
    for pair in list_of(_cell(row, mapping.history), "history", "历史对话") if mapping.history else ():
        if not isinstance(pair, list) or len(pair) != 2:
            raise RowRefused("history is no list of pairs of question and answer", "历史对话不是由问答对组成的列表")
        turns.append(Turn("user", text_of(pair[0], *QUESTION)))
        turns.append(Turn("assistant", text_of(pair[1], *ANSWER), is_trained=True))
    return _with_system(mapping, row, [*turns, Turn("user", _asked(mapping, row))])


def _with_system(mapping: formats.Mapping, row: Row, turns: list[Turn]) -> list[Turn]:
    value = _cell(row, mapping.system) if mapping.system else None
    if value is None or not str(value).strip():
        return turns
    system = Turn("system", text_of(value, "the system prompt", "系统提示"))
    if turns and turns[0].role == "system":
        if turns[0].content != system.content:
            raise RowRefused("two system prompts, in the column and in the conversation", "列中与对话中的系统提示不同")
        return turns
    return [system, *turns]


def _asked(mapping: formats.Mapping, row: Row) -> str:
    instruction = text_of(_cell(row, mapping.prompt), *QUESTION)
    return _joined(instruction, _cell(row, mapping.input) if mapping.input else None)


def _joined(instruction: str, more: Any) -> str:
    """The input goes below the instruction, as LLaMA-Factory and the Alpaca templates have it."""
    if more is None or more == "":
        return instruction
    text = text_of(more, "the input", "输入") if not isinstance(more, str) else more
    return f"{instruction}\n{text}" if text.strip() else instruction


def _said(value: Any, mapping: formats.Mapping) -> list[Turn]:
    """What chosen or rejected holds, as turns."""
    if isinstance(value, str) and not value.lstrip().startswith(("[", "{")):
        return _dialogue(value)
    return turns_of(value, mapping)


def _are_dialogues(mapping: formats.Mapping, chosen: str, rejected: str) -> bool:
    """Whether they hold what was asked as well."""
    if mapping.prompt is not None or mapping.messages is not None:
        return False
    return all(text.startswith("\n\nHuman:") or text.lstrip().startswith(("[", "{")) for text in (chosen, rejected))


def _dialogue(text: str) -> list[Turn]:
    pieces = _SPEAKER.split(text)[1:]
    pairs = zip(pieces[::2], pieces[1::2], strict=True)
    return [
        Turn("user" if speaker == "Human" else "assistant", said.strip(), is_trained=speaker == "Assistant")
        for speaker, said in pairs
    ]


def _not_trained(turns: Sequence[Turn]) -> list[Turn]:
    """Only the answer that was judged is to be learned."""
    return [dataclasses.replace(turn, is_trained=False) for turn in turns]


def _refuse_same(chosen: str, rejected: str) -> None:
    if chosen == rejected:
        raise RowRefused("chosen and rejected are the same", "优选与被拒的回答相同")


def _cell(row: Row, column: str | None) -> Any:
    return row.cells.get(column) if column is not None else None
