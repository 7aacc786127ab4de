"""What is scored, and what it means to go on from another token; checked whatever was sent."""

import codecs
from collections.abc import Sequence
from dataclasses import replace

from llm_app import chat
from llm_app.conversations.tree import Conversation
from llm_app.engine.host import Host
from llm_app.engine.loading import LoadedModel
from llm_app.engine.token_scores import next_tokens, start_token, token_scores
from llm_app.web.chat.asking import checked
from llm_app.web.chat.tokens_views import MAX_TOKENS, Scored
from llm_app.web.failures import SentenceError
from llm_app.web.views import SEPARATOR

N_COMPLETING = 20  # likeliest tokens among which one is looked for that completes a character
MAX_BYTES = 4  # of a character


def score_text(host: Host, text: object) -> Scored:
    """A text by itself, the first token predicted from the start token.

    Raises: UserError.
    """
    words, loaded = checked(text), host.loaded
    ids = list(loaded.tokenizer(words, add_special_tokens=False)["input_ids"])
    start = start_token(loaded)
    return replace(_scored(host, loaded, [start], ids), text=words, start=str(loaded.tokenizer.decode(start)))


def score_reply(host: Host, conversation: Conversation | None) -> Scored:
    """The last reply in sight, after the prompt that the model was given for it.

    Raises: UserError if there is none.
    """
    turn = conversation.path[-1] if conversation is not None and conversation.path else None
    if conversation is None or turn is None or turn.role != "assistant" or not turn.content:
        raise SentenceError("tokens_no_reply")
    loaded = host.loaded
    whole = chat.render(loaded, conversation.before(turn.id).messages(), reply_prefix=turn.content, trim=True)
    prompt_ids = chat.encode(loaded, whole.text.removesuffix(turn.content))
    n_prompt = n_common(whole.token_ids, prompt_ids)
    scored = _scored(host, loaded, whole.token_ids[:n_prompt], whole.token_ids[n_prompt:])
    return replace(scored, text=turn.content, turn=turn.id)


def n_common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def place(scored: Scored | None, pressed: object) -> tuple[int, int]:
    """Position and alternative of a button's value, such as "12:3".

    Raises: UserError for what is no alternative of these tokens.
    """
    parts = pressed.split(":") if isinstance(pressed, str) and len(pressed) < 20 else []
    if scored is None or len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise SentenceError("tokens_outdated")
    position, choice = int(parts[0]), int(parts[1])
    if position >= len(scored.scores) or choice >= len(scored.scores[position].top):
        raise SentenceError("tokens_outdated")
    if scored.scores[position].top[choice].token_id in scored.ends:
        raise SentenceError("tokens_outdated")  # nothing goes on from the end
    return position, choice


def ids_to(scored: Scored, position: int, choice: int) -> list[int]:
    """All tokens up to a place, and the alternative there."""
    before = [score.token_id for score in scored.scores[:position]]
    return [*scored.context_ids, *before, scored.scores[position].top[choice].token_id]


def text_to(host: Host, scored: Scored, position: int, choice: int) -> str:
    """The text up to a place, and the alternative there; a character that it leaves open is completed by the model.

    Raises: UserError if another model answers by now, or the model does not complete the character.
    """
    check_same(host, scored)
    data = b"".join(score.data for score in scored.scores[:position]) + scored.scores[position].top[choice].data
    ids = ids_to(scored, position, choice)
    for _ in range(MAX_BYTES):
        if _decoded(data, is_whole=True) is not None:
            break
        more = next(
            (
                token for token in next_tokens(host.loaded, host.turn, ids, N_COMPLETING, adapter=host.adapter)
                if token.data and token.token_id not in scored.ends and _decoded(data + token.data) is not None
            ),
            None,
        )  # fmt: skip
        if more is None:
            break
        data, ids = data + more.data, [*ids, more.token_id]
    text = _decoded(data, is_whole=True)
    if text is None:
        raise SentenceError("tokens_part")
    # SentencePiece's first token has a space that the text does not have.
    is_added = scored.scores[0].data.startswith(b" ") and not scored.text.startswith(" ")
    return text.removeprefix(" ") if is_added else text


def check_same(host: Host, scored: Scored) -> None:
    """Raises: UserError if what answers now is not what scored these tokens."""
    if identity_of(host, host.loaded) != scored.identity:
        raise SentenceError("tokens_other_model")


def identity_of(host: Host, loaded: LoadedModel) -> str:
    """Which model and adapter answers now."""
    return loaded.identity.with_adapter(loaded.adapters.digest(host.adapter)).digest()


def _scored(host: Host, loaded: LoadedModel, context_ids: Sequence[int], ids: Sequence[int]) -> Scored:
    adapter = host.adapter
    n_shown = max(1, min(MAX_TOKENS, loaded.n_context - len(context_ids)))
    scores = tuple(token_scores(loaded, host.turn, context_ids, ids[:n_shown], adapter=adapter))
    names = [loaded.entry.title, loaded.precision, *([adapter] if adapter else [])]
    return Scored(
        scores, tuple(context_ids), SEPARATOR.join(names), identity_of(host, loaded), len(loaded.tokenizer),
        n_left=max(0, len(ids) - n_shown), ends=loaded.eos_ids,
    )  # fmt: skip


def _decoded(data: bytes, *, is_whole: bool = False) -> str | None:
    """The text of the bytes; None where they are none. Unless `is_whole`, the last character may be on its way."""
    try:
        return codecs.getincrementaldecoder("utf-8")("strict").decode(data, is_whole)
    except UnicodeDecodeError:
        return None
