"""The loaded model as evaluations ask it: text in, log-likelihoods or text out."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from eval.types import Answer, Cut, Generation, Given, Request, Unscored
from llm_app.config import SamplingConfig
from llm_app.engine.encoding import Encoding
from llm_app.engine.host import Host
from llm_app.engine.request import Asked
from llm_app.engine.room import Room
from llm_app.engine.scorer import TooLargeAlone
from llm_app.engine.scoring import loglikelihoods, rolling
from llm_app.errors import GenerationFailed, InvalidNumbers, NotEnoughMemory, UserError
from llm_app.messages import Delta, Message, Stream

MAX_STOPS, MAX_STOP_LENGTH = 16, 256  # what SamplingConfig takes; longer ones are looked for afterwards
CHECK_SECONDS = 0.5  # between looks whether it was stopped, while a reply waits for its turn
INVALID = "the model gave NaN"


@dataclass(frozen=True)
class _Prompt:
    """A prompt of a group; `stop`: what its reply is cut at. `is_cut`: it lost its beginning."""

    index: int
    asked: Asked
    stop: tuple[str, ...]
    is_cut: bool


class EngineModel:
    """Answers with the model that the host has loaded when this is made, base or adapter.

    `room`: how much it asks at once, less where memory was short; it is the same for all that it is asked.
    """

    def __init__(self, host: Host, *, adapter: str | None = None) -> None:
        self.room = Room()
        self._host, self._adapter = host, adapter
        self._loaded = host.loaded
        self._encoding = Encoding(self._loaded.tokenizer)
        self._special = frozenset(self._loaded.tokenizer.all_special_ids)
        self._stopped: UserError | None = None

    def stop(self, reason: UserError) -> None:
        """Answer nothing more: whoever asks, or is waiting for an answer, gets this error. For any thread."""
        self._stopped = reason

    def loglikelihoods(
        self, pairs: Sequence[tuple[str, str]], wanted: Collection[int]
    ) -> Iterator[tuple[int, Given]]:
        """(sum of log-probabilities, whether greedy decoding gives it) of continuations after contexts."""
        requests, places = [], []
        for index, (context, continuation) in enumerate(self._encoding.pairs(pairs)):
            problem = self._problem(context, continuation)
            if problem is None:
                requests.append((context, continuation))
                places.append(index)
            elif index in wanted:
                yield index, Unscored(problem)

        def scores(asked: Collection[int]) -> Iterator[tuple[int, Given]]:
            found = loglikelihoods(
                self._loaded, self._host.turn, requests, adapter=self._adapter, wanted=asked, room=self.room
            )
            for number, value, is_greedy in found:
                is_cut = sum(map(len, requests[number])) > self._loaded.n_context + 1
                answer: Answer = value, is_greedy
                yield number, Unscored(INVALID) if math.isnan(value) else Cut(answer) if is_cut else answer

        for number, answer in self._watched(scores, {n for n, index in enumerate(places) if index in wanted}):
            yield places[number], answer

    def rolling(self, texts: Sequence[str], wanted: Collection[int]) -> Iterator[tuple[int, Given]]:
        """Log-probability of whole texts."""
        ids = self.text_ids(texts)
        for index in wanted:
            if not ids[index]:
                yield index, Unscored("the text is empty")

        def sums(asked: Collection[int]) -> Iterator[tuple[int, Given]]:
            found = rolling(
                self._loaded, self._host.turn, ids, prefix_token=self.prefix_token, adapter=self._adapter, wanted=asked,
                room=self.room,
            )
            for index, value in found:
                yield index, Unscored(INVALID) if math.isnan(value) else value

        yield from self._watched(sums, {index for index in wanted if ids[index]})

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens that `rolling` scores in each text."""
        return [len(ids) for ids in self.text_ids(texts)]

    def text_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """As the tokenizer adds special tokens; none where the text has the first one already."""
        return self._encoding.text_ids(texts)

    def generate(
        self, prompts: Sequence[tuple[str, Generation]], wanted: Collection[int]
    ) -> Iterator[tuple[int, Given]]:
        """Text that follows the prompts: always the same ones together, from their first token to their last.

        A group with an open prompt is decoded whole, so that what is left of an interrupted run gets the very batches,
        and in bfloat16 the very words, that the whole would have got.
        """
        asked: list[_Prompt] = []
        for index, (text, generation) in enumerate(prompts):
            try:
                reply, is_cut = self.reply_to(text, generation)
                asked.append(_Prompt(index, reply, generation.stop, is_cut))
            except UserError as error:
                if index in wanted:
                    yield index, Unscored(error.message)
        left, start = set(wanted), 0
        while start < len(asked):
            group = asked[start : start + self.room.replies]
            try:
                for index, answer in self._together(group, left):
                    left.remove(index)
                    yield index, answer
            except NotEnoughMemory as error:
                if self.room.take_fewer_replies(len(group)):
                    continue
                yield group[0].index, Unscored(error.message, is_passing=True)
            start += len(group)

    def _together(self, group: Sequence[_Prompt], wanted: Collection[int]) -> Iterator[tuple[int, Given]]:
        """Replies to the wanted ones of a group, all of which are decoded. Raises: NotEnoughMemory for so many."""
        if not any(prompt.index in wanted for prompt in group):
            return
        self._check()
        streams = self._host.stream_together([prompt.asked for prompt in group], adapter=self._adapter)
        try:
            for prompt, stream in zip(group, streams, strict=True):
                if prompt.index in wanted:
                    answer = self._read(stream, prompt.stop)
                    yield prompt.index, Cut(answer) if prompt.is_cut and isinstance(answer, str) else answer
        finally:
            for stream in streams:
                stream.close()

    def render(self, messages: list[dict[str, str]], *, add_generation_prompt: bool = True) -> str:
        """A conversation as the chat template writes it; without a generation prompt, open at its end."""
        template = self._loaded.template
        if template is None:
            raise UserError("This model has no chat template. Run without --chat-template.", param="chat_template")
        turns = [Message(message["role"], message["content"]) for message in messages]  # type: ignore[arg-type]
        text = template.render(turns, add_generation_prompt=add_generation_prompt)
        if add_generation_prompt:
            return text
        last = turns[-1].content
        return text[: text.rindex(last.strip()) + len(last.strip())]

    @property
    def prefix_token(self) -> int:
        """What stands before a text that nothing else stands before."""
        return self._encoding.prefix_token

    def ids_of(self, requests: Sequence[Request]) -> list[tuple[list[int], list[int]]]:
        """(tokens that are read, tokens whose likelihood is asked) of each, exactly as they reach the model.

        Uncut: what is longer than the context loses tokens on the left. A reply has no tokens yet.
        """
        pairs = [(request.text, request.continuation) for request in requests if request.kind == "loglikelihood"]
        others = self.text_ids([request.text for request in requests if request.kind != "loglikelihood"])
        paired, rest = self._encoding.pairs(pairs), iter(others)
        found = []
        for request in requests:
            if request.kind == "loglikelihood":
                found.append(next(paired))
            else:
                ids = next(rest)
                found.append(([self.prefix_token], ids) if request.kind == "rolling" else (ids, []))
        return found

    def _problem(self, context: list[int], continuation: list[int]) -> str | None:
        if not continuation:
            return "the text to be scored is empty"
        if len(continuation) > self._loaded.n_context:
            return f"the text to be scored has {len(continuation):,} tokens, more than the context holds"
        return None if context else "the context is empty"

    def _deltas(self, stream: Stream) -> Iterator[Delta]:
        while True:
            self._check()
            try:
                delta = stream.get(CHECK_SECONDS)
            except StopIteration:
                return
            if delta is not None:
                yield delta

    def _watched(
        self, ask: Callable[[Collection[int]], Iterator[tuple[int, Given]]], wanted: set[int]
    ) -> Iterator[tuple[int, Given]]:
        """The wanted scores; one that there is no memory for does not keep the others from theirs."""
        left = set(wanted)
        while left:
            try:
                for index, answer in ask(frozenset(left)):
                    self._check()
                    if index in left:
                        left.remove(index)
                        yield index, answer
                return
            except TooLargeAlone as error:
                too_large = left & error.indices
                left -= too_large
                yield from ((index, Unscored(error.message, is_passing=True)) for index in sorted(too_large))
            except Exception:
                self._check()  # a model that is taken away in the middle of a pass fails in any way
                raise

    def _check(self) -> None:
        """Raises: why it was stopped; ShuttingDown; UserError if another model has taken the place of this one."""
        if self._stopped is not None:
            raise self._stopped
        if self._host.loaded is not self._loaded:
            raise UserError("Another model was loaded meanwhile. Load the model of this run again, then resume it.")

    def start_replies(self, prompts: Sequence[tuple[str, Generation]]) -> list[Stream]:
        """Replies under way, all in one batch.

        Raises: UserError if one does not fit the context, or all together not the memory.
        """
        return self._host.stream_together([self.reply_to(*prompt)[0] for prompt in prompts], adapter=self._adapter)

    def reply_to(self, text: str, generation: Generation) -> tuple[Asked, bool]:
        """A prompt as it reaches the model, and whether it lost tokens on the left to leave room for the reply.

        Raises: UserError if the reply alone does not fit the context, or the prompt is empty.
        """
        n_context = self._loaded.n_context
        n_prompt = n_context - generation.max_new_tokens
        if n_prompt <= 0:
            raise UserError(
                f"The task asks for {generation.max_new_tokens:,} new tokens, the context holds {n_context:,} in all."
            )
        (ids,) = self.text_ids([text])
        if not ids:
            raise UserError("The prompt is empty.")
        stops = [stop for stop in generation.stop if len(stop) <= MAX_STOP_LENGTH][:MAX_STOPS]
        sampling = SamplingConfig(
            temperature=min(generation.temperature, 2.0), top_p=generation.top_p, top_k=min(generation.top_k, 200),
            max_new_tokens=generation.max_new_tokens, stop=tuple(stops), seed=generation.seed,
        )
        # A stop string that is a special token is not part of any text.
        ends = self._special.intersection(self._loaded.tokenizer.convert_tokens_to_ids(list(generation.stop)))
        return Asked(ids[-n_prompt:], sampling, ends), len(ids) > n_prompt

    def _read(self, stream: Stream, stops: Sequence[str]) -> str | Unscored:
        """The text before any stop string. Raises: NotEnoughMemory."""
        ids: list[int] = []
        try:
            for delta in self._deltas(stream):
                ids += delta.token_ids
        except NotEnoughMemory:
            raise
        except InvalidNumbers as error:
            return Unscored(error.message)
        except GenerationFailed as error:
            return Unscored(error.message, is_passing=True)
        except UserError:
            self._check()  # it may say better why
            raise
        text = str(self._loaded.tokenizer.decode(ids, skip_special_tokens=True))
        for stop in stops:
            text = text.split(stop)[0]
        return text
