"""What is asked of the model when somebody writes, edits, repeats or goes on: pure, and checked whatever was sent."""

from dataclasses import dataclass, replace
from typing import Any

from llm_app.config import SamplingConfig
from llm_app.conversations.form import MAX_TURNS as MAX_TREE
from llm_app.conversations.tree import Conversation, Details, Turn
from llm_app.options import options_of
from llm_app.web.chat.markup import as_written
from llm_app.web.failures import SentenceError

MAX_MESSAGE_CHARACTERS = 200_000
MAX_TURNS = 1_000  # in sight


@dataclass(frozen=True)
class Ask:
    """A conversation whose next turn the model shall write. `prefix`: how the reply begins; None as the options say."""

    conversation: Conversation
    prefix: str | None = None


def new_message(conversation: Conversation, message: object) -> Ask:
    """A new message of the person.

    Raises: UserError, as all below.
    """
    return Ask(_room(conversation).with_turn("user", checked(message)))


def again(conversation: Conversation, turn_id: object) -> Ask:
    """Another version of a reply; of a message without a reply, its first."""
    turn = turn_of(conversation, turn_id)
    seen = conversation.before(turn.id) if turn.role == "assistant" else replace(conversation, tip=turn.id)
    if not seen.path:
        raise SentenceError("outdated")  # an imported conversation may begin with a reply
    return Ask(_room(seen))


def edited_message(conversation: Conversation, index: object, message: object) -> Ask:
    """A changed message of the person in place of the old one, which stays as a version beside it."""
    turn = at_index(conversation, index)
    if turn.role != "user":
        raise SentenceError("outdated")
    return Ask(_room(conversation.before(turn.id)).with_turn("user", checked(unescaped(message))))


def edited_reply(conversation: Conversation, index: object, message: object) -> Conversation:
    """A reply as the person would have it, beside the one that the model wrote."""
    turn = at_index(conversation, index)
    if turn.role != "assistant":
        raise SentenceError("outdated")
    words = checked(unescaped(message))
    return _room(conversation.before(turn.id)).with_turn("assistant", words, Details(ending="edited"))


def going_on(conversation: Conversation) -> Ask:
    """The last reply, continued from its end."""
    return from_prefix(conversation, conversation.path[-1].content if conversation.path else "")


def from_prefix(conversation: Conversation, prefix: object) -> Ask:
    """Another version of the last reply that begins with the prefix; the model writes the rest."""
    if not conversation.path or conversation.path[-1].role != "assistant":
        raise SentenceError("nothing_to_continue")
    words = checked(prefix)
    seen = conversation.before(conversation.tip)
    if not seen.path:
        raise SentenceError("outdated")
    return Ask(_room(seen), words)


def begun(conversation: Conversation | None) -> Conversation:
    """The conversation in sight, or a new one."""
    return conversation if isinstance(conversation, Conversation) else Conversation.new()


def unusual(sampling: SamplingConfig) -> dict[str, Any]:
    """The options that are not at their default, as JSON has them. The seed has a place of its own."""
    values = {item.name: getattr(sampling, item.name) for item, _ in options_of(SamplingConfig) if item.name != "seed"}
    plain = SamplingConfig()
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items() if value != getattr(plain, name)
    }


def turn_of(conversation: Conversation, turn_id: object) -> Turn:
    """The turn with this id.

    Raises: UserError if there is none.
    """
    turn = conversation.by_id.get(turn_id) if isinstance(turn_id, str) else None
    if turn is None:
        raise SentenceError("outdated")
    return turn


def at_index(conversation: Conversation, index: object) -> Turn:
    """The turn at a place of those in sight.

    Raises: UserError if there is none.
    """
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(conversation.path):
        raise SentenceError("outdated")
    return conversation.path[index]


def unescaped(message: object) -> object:
    """What the person typed: the page shows a message with its tags escaped, and its edit box too."""
    return as_written(message) if isinstance(message, str) else message


def checked(message: object) -> str:
    """The message, if it can be sent.

    Raises: UserError.
    """
    if not isinstance(message, str):
        raise SentenceError("wrong_value")
    if len(message) > MAX_MESSAGE_CHARACTERS:
        raise SentenceError("long_message", n=len(message), max=MAX_MESSAGE_CHARACTERS)
    if not message.strip("\0 \t\r\n"):
        raise SentenceError("empty_message")
    if any("\ud800" <= character <= "\udfff" for character in message):
        raise SentenceError("not_unicode")
    return message


def checked_system_prompt(prompt: object) -> str:
    """The system prompt, if it can be used.

    Raises: UserError.
    """
    return "" if prompt is None or prompt == "" else checked(prompt)


def _room(conversation: Conversation) -> Conversation:
    if len(conversation.path) >= MAX_TURNS or len(conversation.turns) >= MAX_TREE:
        raise SentenceError("full_conversation", n=len(conversation.path))
    return conversation
