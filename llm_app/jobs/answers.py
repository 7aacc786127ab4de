"""The loaded model as evaluations ask it: text in, log-likelihoods or text out.

Text becomes tokens exactly as in lm-evaluation-harness's own backend for transformers, since a space on the wrong side
of a boundary changes every score.
"""

import math
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

from eval.types import Generation, Request, Unscored
from llm_app.config import SamplingConfig
from llm_app.engine.host import Host
from llm_app.engine.request import Stream
from llm_app.engine.scoring import loglikelihoods, rolling
from llm_app.engine.turn import BATCH
from llm_app.errors import GenerationFailed, QueueFull, UserError
from llm_app.messages import Delta, Message

MAX_STREAMS = 8  # replies asked for at once; the rest of the batch stays free for chats
MAX_STOPS, MAX_STOP_LENGTH = 16, 256  # what SamplingConfig takes; longer ones are looked for afterwards
CHECK_SECONDS = 0.5  # between looks whether it was stopped, while a reply waits for its turn
INVALID = "the model gave NaN"

Scores = TypeVar("Scores")


class EngineModel:
    """Answers with the model that the host has loaded when this is made, base or adapter."""

    def __init__(self, host: Host, *, adapter: str | None = None) -> None:
        self._host, self._adapter = host, adapter
        self._loaded = host.loaded
        tokenizer = self._loaded.tokenizer
        prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if prefix is None:
            raise UserError("This model's tokenizer has neither a first nor a last token; it cannot be scored.")
        self._prefix = int(prefix)
        self._prefix_text = str(tokenizer.decode(self._prefix))
        self._stopped: UserError | None = None

    def stop(self, reason: UserError) -> None:
        """Answer nothing more: whoever asks, or is waiting for an answer, gets this error. For any thread."""
        self._stopped = reason

    def loglikelihoods(
        self, pairs: Sequence[tuple[str, str]], wanted: Collection[int]
    ) -> Iterator[tuple[int, tuple[float, bool] | Unscored]]:
        """(sum of log-probabilities, whether greedy decoding gives it) of continuations after contexts."""
        requests, places = [], []
        for index, (context, continuation) in enumerate(self._pairs(pairs)):
            problem = self._problem(context, continuation)
            if problem is None:
                requests.append((context, continuation))
                places.append(index)
            elif index in wanted:
                yield index, Unscored(problem)
        asked = {number for number, index in enumerate(places) if index in wanted}
        scores = loglikelihoods(
            self._loaded, self._host.turn, requests, adapter=self._adapter, wanted=asked
        )
        for number, value, is_greedy in self._watched(scores):
            yield places[number], Unscored(INVALID) if math.isnan(value) else (value, is_greedy)

    def rolling(self, texts: Sequence[str], wanted: Collection[int]) -> Iterator[tuple[int, float | Unscored]]:
        """Log-probability of whole texts."""
        ids = self.text_ids(texts)
        for index in wanted:
            if not ids[index]:
                yield index, Unscored("the text is empty")
        asked = {index for index in wanted if ids[index]}
        sums = rolling(
            self._loaded, self._host.turn, ids, prefix_token=self._prefix, adapter=self._adapter, wanted=asked
        )
        for index, value in self._watched(sums):
            yield index, Unscored(INVALID) if math.isnan(value) else value

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens that `rolling` scores in each text."""
        return [len(ids) for ids in self.text_ids(texts)]

    def generate(
        self, prompts: Sequence[tuple[str, Generation]], wanted: Collection[int]
    ) -> Iterator[tuple[int, str | Unscored]]:
        """Text that follows the prompts, a few at a time, in their order."""
        waiting = deque(index for index in range(len(prompts)) if index in wanted)
        running: deque[tuple[int, Generation, Stream]] = deque()
        try:
            while waiting or running:
                while waiting and len(running) < MAX_STREAMS:
                    index = waiting[0]
                    text, generation = prompts[index]
                    try:
                        stream = self.start_reply(text, generation)
                    except QueueFull:
                        if not running:
                            time.sleep(0.1)  # chats fill the batch; they go first
                        break
                    except UserError as error:
                        if error.status >= 500:  # nothing about the sample: no model, or a server on its way out
                            raise
                        yield index, Unscored(error.message)
                    else:
                        running.append((index, generation, stream))
                    waiting.popleft()
                if running:
                    index, generation, stream = running.popleft()
                    yield index, self._read(stream, generation)
        finally:
            for _, _, stream in running:
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
        return self._prefix

    def ids_of(self, requests: Sequence[Request]) -> list[tuple[list[int], list[int]]]:
        """(tokens that are read, tokens whose likelihood is asked) of each, exactly as they reach the model.

        Uncut: what is longer than the context loses tokens on the left. A reply has no tokens yet.
        """
        pairs = [(request.text, request.continuation) for request in requests if request.kind == "loglikelihood"]
        others = self.text_ids([request.text for request in requests if request.kind != "loglikelihood"])
        paired, rest = self._pairs(pairs), iter(others)
        found = []
        for request in requests:
            if request.kind == "loglikelihood":
                found.append(next(paired))
            else:
                ids = next(rest)
                found.append(([self._prefix], ids) if request.kind == "rolling" else (ids, []))
        return found

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[list[int], list[int]]]:
        """Token ids of contexts and continuations. Spaces at the end of a context go to the continuation."""
        moved = []
        for context, continuation in pairs:
            stem = context.rstrip()
            moved.append((stem, context[len(stem) :] + continuation) if context else ("", continuation))
        whole = self.text_ids([context + continuation for context, continuation in moved])
        # Choices share their context; it is encoded once.
        distinct = list(dict.fromkeys(context for context, _ in moved))
        contexts = dict(zip(distinct, self.text_ids(distinct), strict=True))
        for (context, continuation), ids, original in zip(moved, whole, pairs, strict=True):
            if original[0] == "":
                after = self._encode_plain(continuation)
                # A text that begins with the prefix token brings its own context.
                yield (after[:1], after[1:]) if after[:1] == [self._prefix] else ([self._prefix], after)
            else:
                before = contexts[context]
                yield before, ids[len(before) :]

    def text_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """As the tokenizer adds special tokens; none where the text has the first one already."""
        marked = [self._prefix_text != "" and text.startswith(self._prefix_text) for text in texts]
        ids: list[list[int]] = [[] for _ in texts]
        for is_marked in (False, True):
            group = [index for index, mark in enumerate(marked) if mark == is_marked]
            if not group:
                continue
            options: dict[str, Any] = {"add_special_tokens": False} if is_marked else {}
            encoded = self._loaded.tokenizer([texts[index] for index in group], **options)["input_ids"]
            for index, row in zip(group, encoded, strict=True):
                ids[index] = list(row)
        return ids

    def _encode_plain(self, text: str) -> list[int]:
        return list(self._loaded.tokenizer.encode(text, add_special_tokens=False))

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

    def _watched(self, scores: Iterator[Scores]) -> Iterator[Scores]:
        try:
            for score in scores:
                self._check()
                yield score
        except Exception:
            self._check()  # a model that is taken away in the middle of a pass fails in any way
            raise

    def _check(self) -> None:
        """Raises: why it was stopped; ShuttingDown; UserError if another model has taken the place of this one."""
        if self._stopped is not None:
            raise self._stopped
        if self._host.loaded is not self._loaded:
            raise UserError("Another model was loaded meanwhile. Load the model of this run again, then resume it.")

    def start_reply(self, text: str, generation: Generation) -> Stream:
        """A reply to a prompt, under way. A prompt that leaves no room for it loses tokens on the left.

        Raises: QueueFull, or UserError if the reply alone does not fit the context.
        """
        n_context = self._loaded.n_context
        n_prompt = n_context - generation.max_new_tokens
        if n_prompt <= 0:
            raise UserError(
                f"The task asks for {generation.max_new_tokens:,} new tokens, the context holds {n_context:,} in all."
            )
        ids = self.text_ids([text])[0][-n_prompt:]
        stops = [stop for stop in generation.stop if len(stop) <= MAX_STOP_LENGTH][:MAX_STOPS]
        sampling = SamplingConfig(
            temperature=min(generation.temperature, 2.0), top_p=generation.top_p, top_k=min(generation.top_k, 200),
            max_new_tokens=generation.max_new_tokens, stop=tuple(stops), seed=generation.seed,
        )
        return self._host.stream(ids, sampling, adapter=self._adapter, rank=BATCH)

    def _read(self, stream: Stream, generation: Generation) -> str | Unscored:
        """The text before any stop string. A stop string that is a special token is not part of any text."""
        tokenizer = self._loaded.tokenizer
        special = set(tokenizer.all_special_ids)
        ends = {i for i in tokenizer.convert_tokens_to_ids(list(generation.stop)) if i in special}
        ids: list[int] = []
        try:
            with stream:
                for delta in self._deltas(stream):
                    ids += delta.token_ids
                    if ends and not ends.isdisjoint(delta.token_ids):
                        break
        except GenerationFailed as error:
            return Unscored(error.message)
        cut = next((n for n, token in enumerate(ids) if token in ends), len(ids))
        text = str(tokenizer.decode(ids[:cut], skip_special_tokens=True))
        for stop in generation.stop:
            text = text.split(stop)[0]
        return text
