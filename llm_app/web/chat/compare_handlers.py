"""What happens when somebody compares: the prompt goes to both sides, the vote into the book."""

import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import gradio as gr

from llm_app import chat, votes
from llm_app.config import SamplingConfig
from llm_app.conversations.tree import Details
from llm_app.errors import UserError
from llm_app.messages import Message
from llm_app.services import Services
from llm_app.votes import Choice
from llm_app.web import text
from llm_app.web.chat import compare_views as views
from llm_app.web.chat.asking import checked, checked_system_prompt
from llm_app.web.chat.compare_ballots import Ballots
from llm_app.web.chat.compare_reply import Pair, read_together
from llm_app.web.chat.compare_sides import AdapterKind, DecodingKind, Kind, PrecisionKind, Side
from llm_app.web.chat.compare_views import Round
from llm_app.web.chat.presence import ReaderWatch, Running
from llm_app.web.chat.reply import Reply
from llm_app.web.chat.views import final_note, live_note
from llm_app.web.failures import SentenceError, error_notice, note_error
from llm_app.web.html import download, shown
from llm_app.web.model.views import progress
from llm_app.web.options import Form
from llm_app.web.views import notice

log = logging.getLogger(__name__)
SEED_BITS = 31

Update = dict[Any, Any]


@dataclass(frozen=True)
class Parts:
    """The components that a comparison changes."""

    first: gr.Dropdown
    second: gr.Dropdown
    message: gr.Textbox
    send: gr.Button
    stop: gr.Button
    asked: gr.HTML
    head_a: gr.HTML
    head_b: gr.HTML
    pane_a: gr.Chatbot
    pane_b: gr.Chatbot
    vote_a: gr.Button
    vote_tie: gr.Button
    vote_both_bad: gr.Button
    vote_b: gr.Button
    notice: gr.HTML
    round: gr.State
    table: gr.HTML
    export: gr.HTML
    kept: Any  # the votes, on a page whose visitors keep them in their browsers

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class Wish:
    """What was asked for, checked."""

    kind: Kind
    first: str
    second: str
    is_blind: bool
    messages: tuple[Message, ...]
    sampling: SamplingConfig


class CompareHandlers:
    """The handlers of the comparison. They take values and give values back."""

    def __init__(self, page: gr.Blocks, services: Services, parts: Parts, form: Form) -> None:
        self._page, self._parts, self._form, self._second = page, parts, form, services.second
        self._kinds: dict[object, Kind] = {
            "adapter": AdapterKind(services), "precision": PrecisionKind(services), "decoding": DecodingKind(services),
        }  # fmt: skip
        self._ballots = Ballots(services.settings)
        self._running = Running()

    def choose(self, kind: object) -> Update:
        """Another kind of comparison. A second model that it has no use for is given back."""
        if kind != "precision":
            self._second.give_back()
        return self.arrive(kind, None, None)

    def arrive(self, kind: object, first: object, second: object) -> Update:
        """What can be chosen for the two sides as things stand; what was chosen stays where it still can be."""
        parts = self._parts
        try:
            offer = self._kind(kind).offer()
        except Exception as error:
            empty = gr.update(choices=[], value=None)
            return {parts.first: empty, parts.second: empty, parts.notice: self._failed(error)}
        with contextlib.suppress(UserError):
            offer = replace(offer, chosen=offer.check(first, second))
        return {
            parts.first: gr.update(choices=offer.first, value=offer.chosen[0], interactive=len(offer.first) > 1),
            parts.second: gr.update(choices=offer.second, value=offer.chosen[1]),
            **self.estimate(kind, offer.chosen[1]),
        }

    def estimate(self, kind: object, second: object) -> Update:
        """Whether the second model fits beside the first, before anything is read."""
        try:
            chosen = self._kind(kind)
            if not isinstance(chosen, PrecisionKind):
                return {self._parts.notice: ""}
            offer = chosen.offer()
            return {self._parts.notice: self._fits(chosen, offer.check(offer.chosen[0], second)[1])}
        except Exception as error:
            return {self._parts.notice: self._failed(error)}

    def ask(
        self, request: gr.Request, message: object, kind: object, first: object, second: object, is_blind: object,
        *settings: object,
    ) -> Iterator[Update]:
        """Let both sides answer; the box is emptied once they have taken it."""
        request_id, visitor, pair = secrets.token_hex(4), request.session_hash or "", Pair()
        self._running.start(visitor, pair)
        try:
            wish = self._wish(message, (kind, first, second, is_blind), settings)
            yield {**self._busy(True), self._parts.notice: ""}
            with contextlib.closing(wish.kind.prepare(wish.first, wish.second)) as events:  # type: ignore[type-var]
                for event in events:
                    pair.check()
                    yield {self._parts.notice: progress(wish.second, event.phase, event.fraction)}
            yield from self._answers(wish, pair, visitor, request_id)
        except Exception as error:
            yield {**self._busy(False), self._parts.notice: self._failed(error, request_id)}
        finally:
            pair.close()
            self._running.end(visitor, pair)

    def stop(self, request: gr.Request) -> None:
        """End both answers; what was written stays."""
        self._running.stop(request.session_hash or "")

    def vote(self, choice: Choice) -> Callable[..., Update]:
        """A handler that keeps this vote."""

        def keep(round_: Round | None, kept: object) -> Update:
            try:
                return self._keep(choice, round_, kept)
            except Exception as error:
                return {self._parts.notice: self._failed(error)}

        return keep

    def look(self, kept: object) -> Update:
        """The votes so far."""
        try:
            found, n_damaged = self._ballots.read(kept)
        except Exception as error:
            return {self._parts.table: self._failed(error)}
        table = views.votes_table(
            votes.standings(found), n_damaged=n_damaged, is_public=self._ballots.are_in_browser
        )
        return {self._parts.table: table}

    def export_votes(self, kept: object) -> Update:
        """All votes as a file."""
        return self._export("votes.jsonl", kept, lambda found: "".join(map(votes.line_of, found)), "votes_none")

    def export_preferences(self, kept: object) -> Update:
        """The votes that name a winner, as data to train on."""
        return self._export("preferences.jsonl", kept, votes.preference_lines, "export_preferences_none")

    def _answers(self, wish: Wish, pair: Pair, visitor: str, request_id: str) -> Iterator[Update]:
        sampling = wish.sampling
        seed = secrets.randbits(SEED_BITS) if sampling.seed is None else sampling.seed
        sides = [wish.kind.side(name, replace(sampling, seed=seed)) for name in (wish.first, wish.second)]
        if sides[0].contestant == sides[1].contestant:
            raise SentenceError("compare_same")
        if wish.is_blind and secrets.randbits(1):
            sides.reverse()
        a, b = sides
        replies = [self._reply(side, wish.messages, pair, request_id) for side in sides]
        round_ = Round(
            votes.new_round(), wish.messages, (a.name, b.name), (a.contestant, b.contestant), wish.is_blind, seed,
            notes=(live_note(0), live_note(0)),
        )  # fmt: skip
        yield {**self._shown(round_), **self._busy(True), self._parts.message: "", self._parts.notice: ""}
        watch = ReaderWatch(self._page, visitor)
        for is_news in read_together(replies):
            if watch.is_gone():
                log.info("nobody reads the answers of request %s; they are stopped", request_id)
                return
            if is_news:
                notes = [live_note(reply.n_output_tokens) for reply in replies]
                round_ = round_.with_answers([reply.content for reply in replies], notes)
            # An empty frame too: a handler can be closed only where it yields.
            yield self._texts(round_) if is_news else {self._parts.notice: gr.skip()}
        notes = [final_note(reply.details) for reply in replies]
        failures = [reply.failure for reply in replies if reply.failure is not None]
        round_ = replace(round_, is_over=True, has_failed=bool(failures))
        round_ = round_.with_answers([reply.content for reply in replies], notes)
        said = error_notice(failures[0], request_id) if failures else ""
        yield {**self._shown(round_), **self._busy(False), self._parts.notice: said}

    def _reply(self, side: Side, messages: Sequence[Message], pair: Pair, request_id: str) -> Reply:
        loaded, sampling = side.host.loaded, side.sampling
        prompt = chat.render(loaded, messages, reply_prefix=sampling.reply_prefix)
        stream = side.host.stream(prompt.token_ids, sampling, adapter=side.adapter)
        about = Details(
            loaded.entry.title, loaded.precision, side.adapter, len(prompt.token_ids), request=request_id
        )
        return Reply(pair.add(stream), about)

    def _wish(self, message: object, choice: Sequence[object], settings: Sequence[object]) -> Wish:
        kind, first, second, is_blind = choice
        system, *values = settings
        sampling: SamplingConfig = self._form.read(values)
        words = checked_system_prompt(system)
        before = (Message("system", words),) if words.strip() else ()
        prompt = (*before, Message("user", checked(message)))
        if not isinstance(is_blind, bool):
            raise SentenceError("wrong_value")
        chosen = self._kind(kind)
        return Wish(chosen, *chosen.offer().check(first, second), is_blind, prompt, sampling)

    def _keep(self, choice: Choice, round_: Round | None, kept: object) -> Update:
        if round_ is None:
            raise SentenceError("vote_none")
        if round_.choice is not None:
            raise SentenceError("vote_twice")
        if not round_.is_open:
            raise SentenceError("vote_running")
        vote = votes.new_vote(
            round_.id, round_.prompt, round_.contestants, round_.answers, choice,
            is_blind=round_.is_blind, seed=round_.seed,
        )  # fmt: skip
        left, n_dropped = self._ballots.add(vote, kept)
        round_ = replace(round_, choice=choice)
        full = notice(text.both("votes_full", n=len(left)), "warning") if n_dropped else ""
        return {
            **self._shown(round_), **self.look(left), self._parts.kept: left,
            self._parts.notice: views.thanks(round_) + full,
        }  # fmt: skip

    def _export(
        self, name: str, kept: object, write: Callable[[list[votes.Vote]], str], nothing: str
    ) -> Update:
        try:
            words = write(self._ballots.read(kept)[0])
        except Exception as error:
            return {self._parts.notice: self._failed(error)}
        if not words:
            return {self._parts.notice: notice(text.both(nothing))}
        return {self._parts.export: download(name, words), self._parts.notice: ""}

    def _kind(self, name: object) -> Kind:
        if not isinstance(name, str) or name not in self._kinds:
            raise SentenceError("wrong_value")
        return self._kinds[name]

    def _fits(self, kind: PrecisionKind, precision: str) -> str:
        sentence, fits = kind.estimate(precision)
        return notice(text.pair(sentence), "info" if fits else "warning") if sentence[0] else ""

    def _shown(self, round_: Round) -> Update:
        parts, can = self._parts, gr.update(interactive=round_.is_open)
        return {
            **self._texts(round_), parts.asked: views.asked(round_), parts.round: round_,
            parts.head_a: views.head(0, round_), parts.head_b: views.head(1, round_),
            parts.vote_a: can, parts.vote_tie: can, parts.vote_both_bad: can, parts.vote_b: can,
        }  # fmt: skip

    def _texts(self, round_: Round) -> Update:
        return {self._parts.pane_a: views.answer(round_, 0), self._parts.pane_b: views.answer(round_, 1)}

    def _busy(self, is_busy: bool) -> Update:
        return {self._parts.send: shown(not is_busy), self._parts.stop: shown(is_busy)}

    def _failed(self, error: Exception, request_id: str = "") -> str:
        request_id = request_id or secrets.token_hex(4)
        note_error(error, request_id)
        return error_notice(error, request_id)
