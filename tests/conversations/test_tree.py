"""A conversation as a tree: versions, branches, and what two windows add to it."""

from hypothesis import given
from hypothesis import strategies as st

from llm_app.conversations.tree import MAX_TITLE, Conversation, Details, new_id
from llm_app.messages import Message


def talk(*words: str) -> Conversation:
    """A conversation in which person and model take turns."""
    made = Conversation.new()
    for n, content in enumerate(words):
        made = made.with_turn("user" if n % 2 == 0 else "assistant", content)
    return made


def contents(conversation: Conversation) -> list[str]:
    return [turn.content for turn in conversation.path]


def test_another_version_stands_beside_the_old_one_which_stays() -> None:
    first = talk("a", "b")
    second = first.before(first.tip).with_turn("assistant", "B")
    assert contents(second) == ["a", "B"]
    assert [turn.content for turn in second.versions(second.path[1])] == ["b", "B"]
    assert contents(second.showing(first.tip)) == ["a", "b"]


def test_showing_a_version_goes_on_along_what_was_said_after_it() -> None:
    first = talk("a", "b", "c", "d")
    edited = first.before(first.path[2].id).with_turn("user", "C")
    assert contents(edited) == ["a", "b", "C"]
    assert contents(edited.showing(first.path[2].id)) == ["a", "b", "c", "d"]


def test_a_branch_is_a_conversation_of_its_own_up_to_that_message() -> None:
    whole = talk("a", "b", "c", "d")
    branch = whole.branch(whole.path[1].id)
    assert contents(branch) == ["a", "b"] and branch.id != whole.id
    assert contents(whole) == ["a", "b", "c", "d"]


def test_a_branch_takes_no_versions_that_were_not_in_sight() -> None:
    first = talk("a", "b")
    second = first.before(first.tip).with_turn("assistant", "B")
    assert len(second.branch(second.tip).turns) == 2


def test_two_windows_put_together_keep_what_each_has_added() -> None:
    begun = talk("a", "b")
    one, other = begun.with_turn("user", "one"), begun.with_turn("user", "other")
    both = one.merged(other)
    assert contents(both) == ["a", "b", "one"], "what is in sight stays"
    assert {turn.content for turn in both.turns} == {"a", "b", "one", "other"}
    assert both.merged(other) is both


@given(st.lists(st.tuples(st.integers(0, 30), st.text(max_size=3)), max_size=30))
def test_merging_gives_the_same_turns_in_either_order(added: list[tuple[int, str]]) -> None:
    one = other = talk("a", "b")
    for at, words in added:
        if at % 2:
            one = one.showing(one.turns[at % len(one.turns)].id).with_turn("user", words)
        else:
            other = other.showing(other.turns[at % len(other.turns)].id).with_turn("user", words)
    assert set(one.merged(other).turns) == set(other.merged(one).turns)


def test_the_name_is_the_beginning_of_the_first_message_until_it_has_a_title() -> None:
    words = "word " * 40
    assert talk("short\n question", "b").name == "short question"
    assert talk("\u202eshort\u2066 question", "b").name == "short question"
    assert len(talk(words).name) <= MAX_TITLE and talk(words).name.endswith("…")
    assert Conversation.of([Message("user", "x")], title="Mine").name == "Mine"


def test_the_model_gets_the_system_prompt_first_and_no_reply_that_came_to_nothing() -> None:
    made = Conversation.of([Message("system", "be brief"), Message("user", "a"), Message("assistant", "")])
    assert made.messages() == [Message("system", "be brief"), Message("user", "a")]
    assert Conversation.of([Message("system", "  "), Message("user", "a")]).messages() == [Message("user", "a")]


def test_ids_sort_by_the_time_at_which_they_were_made() -> None:
    import time

    ids = []
    for _ in range(5):
        ids.append(new_id())
        time.sleep(0.002)
    assert ids == sorted(ids) and len({len(name) for name in ids}) == 1


def test_details_are_compared_by_what_they_say() -> None:
    assert Details(settings={"top_k": 5}) == Details(settings={"top_k": 5})
