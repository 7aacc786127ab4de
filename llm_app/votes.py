"""Human evaluation: which of two answers somebody liked better, kept, counted, and given out as preference data."""

import datetime
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from eval.statistics import Interval, wilson_interval
from llm_app.config import Settings
from llm_app.errors import UserError
from llm_app.jobs import lock
from llm_app.jobs.folder import new_id, read_event, told, write_whole
from llm_app.messages import Message, Role

Choice = Literal["a", "b", "tie", "both_bad"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Contestant:
    """Who answered: everything that decides an answer but the prompt and the seed.

    `identity` is the digest of weights, adapter, precision, tokenizer and template; `adapter` is empty for the base.
    """

    model: str
    precision: str
    adapter: str
    decoding: str
    identity: str


@dataclass(frozen=True)
class Vote:
    """One judgement. `is_blind`: whoever voted was not told which answer is whose."""

    id: str
    time: str
    prompt: tuple[Message, ...]
    a: Contestant
    b: Contestant
    answer_a: str
    answer_b: str
    choice: Choice
    is_blind: bool
    seed: int


@dataclass(frozen=True)
class Standing:
    """What the votes on one pair say; blind votes and others are counted apart.

    `win_rate`: how often `first` won, out of the votes that named a winner: ties and "both bad" are left out. None
    before the first such vote.
    """

    first: Contestant
    second: Contestant
    is_blind: bool
    n_first: int
    n_second: int
    n_tie: int
    n_both_bad: int
    win_rate: Interval | None

    @property
    def n(self) -> int:
        """All votes on this pair."""
        return self.n_first + self.n_second + self.n_tie + self.n_both_bad


class VoteBook:
    """Votes in a file, a line each. A kill loses at most the line that was being written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, settings: Settings) -> "VoteBook":
        """The votes of this machine."""
        return cls(settings.home / "votes" / "votes.jsonl")

    def add(self, vote: Vote) -> None:
        """Keep a vote; when this returns, a kill does not lose it.

        Raises: UserError if the disk is full or cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                if not lock.take(file):
                    raise UserError("Another program is writing votes. Vote again in a moment.")
                self._append(file, line_of(vote).encode())
            finally:
                os.close(file)
        except OSError as error:
            raise told(error, self.path.parent) from error

    def read(self) -> tuple[list[Vote], int]:
        """All votes in the order of time, and how many lines are damaged. A vote sent twice counts once."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise told(error, self.path.parent) from error
        whole = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]  # a torn last line is no vote yet
        found = [read_vote(read_event(line)) for line in whole]
        votes = [vote for vote in found if vote is not None]
        return unique(votes), len(found) - len(votes)

    def write_pairs(self) -> Path:
        """The pairs that the votes make, in a file beside them that is named by its content and never changes.

        Raises: UserError if no vote names a winner, or the disk is full.
        """
        lines = preference_lines(self.read()[0])
        if not lines:
            raise UserError("No vote of the Chat tab names a winner yet: there are no pairs to learn from.")
        path = self.path.with_name(f"pairs-{hashlib.sha256(lines.encode()).hexdigest()[:16]}.jsonl")
        if not path.is_file():
            write_whole(path, lines)
        return path

    def _append(self, file: int, line: bytes) -> None:
        end = os.fstat(file).st_size
        if end and os.pread(file, 1, end - 1) != b"\n":
            # What a kill tore is cut, or it would spoil the next line as well.
            data = self.path.read_bytes()
            os.ftruncate(file, data.rfind(b"\n") + 1)
        start = os.fstat(file).st_size
        try:
            if os.write(file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file)
        except OSError:
            os.ftruncate(file, start)
            raise


def new_vote(
    round_id: str,
    prompt: Sequence[Message],
    sides: tuple[Contestant, Contestant],
    answers: tuple[str, str],
    choice: Choice,
    *,
    is_blind: bool,
    seed: int,
) -> Vote:
    """A vote of now. `round_id` comes from `new_round`: two votes on one pair of answers are one vote."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Vote(round_id, now, tuple(prompt), *sides, *answers, choice, is_blind, seed)


def new_round() -> str:
    """A name for one pair of answers; sorted by name, rounds are sorted by time."""
    return new_id()


def line_of(vote: Vote) -> str:
    """The vote as a line of JSON."""
    return json.dumps(asdict(vote), ensure_ascii=False) + "\n"


def read_vote(found: object) -> Vote | None:
    """The vote that was written so; None for anything else, since a browser or an editor may have written it."""
    if not isinstance(found, Mapping):
        return None
    try:
        values: dict[str, Any] = {field.name: found[field.name] for field in fields(Vote)}
        for name in ("id", "time", "answer_a", "answer_b"):
            _text(values[name])
        for side in ("a", "b"):
            values[side] = Contestant(**{field.name: _text(found[side][field.name]) for field in fields(Contestant)})
        values["prompt"] = tuple(Message(_one_of(m["role"], ROLES), _text(m["content"])) for m in found["prompt"])
        _one_of(values["choice"], CHOICES)
        is_whole = type(values["seed"]) is int and type(values["is_blind"]) is bool
        return Vote(**values) if is_whole else None
    except (KeyError, TypeError, ValueError):
        return None


def unique(votes: Iterable[Vote]) -> list[Vote]:
    """The first vote of each round."""
    found: dict[str, Vote] = {}
    for vote in votes:
        found.setdefault(vote.id, vote)
    return list(found.values())


def standings(votes: Iterable[Vote]) -> list[Standing]:
    """Wins, ties and the win rate of every pair that was voted on, the one with the most votes first."""
    pairs: dict[tuple[Contestant, Contestant, bool], list[Vote]] = {}
    for vote in votes:
        first, second = sorted((vote.a, vote.b), key=_rank)
        pairs.setdefault((first, second, vote.is_blind), []).append(vote)
    return sorted((_standing(*pair, found) for pair, found in pairs.items()), key=lambda standing: -standing.n)


def preferences(votes: Iterable[Vote]) -> Iterator[dict[str, Any]]:
    """Votes with a winner as training data: prompt, chosen and rejected, each a list of messages.

    Left out: ties, "both bad", and winners without a word. Source: the conversational preference format of TRL's
    DPOTrainer with its prompt given apart.
    """
    for vote in votes:
        answers = {"a": (vote.answer_a, vote.answer_b), "b": (vote.answer_b, vote.answer_a)}.get(vote.choice)
        if answers is None or not answers[0].strip() or answers[0] == answers[1]:
            continue
        chosen, rejected = ([Message("assistant", answer)] for answer in answers)
        dialogues = {"prompt": vote.prompt, "chosen": chosen, "rejected": rejected}
        # Without NUL, which a model may say and no data set may hold.
        yield {
            name: [{"role": message.role, "content": message.content.replace("\0", "")} for message in messages]
            for name, messages in dialogues.items()
        }


def preference_lines(votes: Iterable[Vote]) -> str:
    """`preferences` as the text of a .jsonl file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in preferences(votes))


def _standing(first: Contestant, second: Contestant, is_blind: bool, votes: Sequence[Vote]) -> Standing:
    winners = [vote.a if vote.choice == "a" else vote.b for vote in votes if vote.choice in ("a", "b")]
    n_first, n_second = winners.count(first), winners.count(second)
    n_tie, n_both_bad = (sum(vote.choice == choice for vote in votes) for choice in ("tie", "both_bad"))
    rate = wilson_interval(n_first, len(winners)) if winners else None
    return Standing(first, second, is_blind, n_first, n_second, n_tie, n_both_bad, rate)


def _rank(contestant: Contestant) -> tuple[object, ...]:
    # An adapter stands before its base: how often it wins is the question.
    return not contestant.adapter, *astuple(contestant)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    value.encode()  # half a surrogate pair could be written to no file
    return value


def _one_of(value: object, known: tuple[Any, ...]) -> Any:
    if value not in known:
        raise ValueError(value)
    return value
