"""What is shown for what happened: pure functions, no server."""

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import llm_app
from llm_app.config import Settings
from llm_app.conversations.tree import Conversation, Details
from llm_app.engine.host import Host
from llm_app.errors import GenerationFailed, ModelLoading, QueueFull, UserError
from llm_app.jobs.train_result import CLASSIFIER, check_name
from llm_app.messages import Message
from llm_app.web import text
from llm_app.web.chat import asking, views
from llm_app.web.failures import SentenceError, error_notice
from llm_app.web.views import gigabytes

SETTINGS = {"top_k": 5, "stop": ["\n"]}
DETAILS = Details("tiny", "nf4", "mine", 12, 58, 0.036, 112.0, 123, n_context=512, settings=SETTINGS)
TALK = Conversation.of(
    [Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d")]
)


def words_of(conversation: Conversation) -> list[str]:
    return [turn.content for turn in conversation.path]


def test_the_line_under_a_reply_has_speed_first_token_length_and_seed() -> None:
    assert views.final_note(DETAILS)[0] == "112 tok/s · 36 ms · 58 tokens · seed 123"
    assert views.final_note(DETAILS)[1] == "112 词元/秒 · 36 毫秒 · 58 词元 · 种子 123"


@pytest.mark.parametrize(("reason", "words"), [
    ("cancelled", "stopped"), ("length", "ended at the token limit"), ("time", "ended at the time limit")
])  # fmt: skip
def test_an_end_that_was_not_the_models_own_is_said(reason: str, words: str) -> None:
    assert views.final_note(replace(DETAILS, ending=reason))[0].startswith(words + " · ")


def test_a_reply_stopped_before_its_first_token_claims_no_speed() -> None:
    note = views.final_note(Details("tiny", n_prompt_tokens=12, seed=7, ending="cancelled"))[0]
    assert note == "stopped · 0 tokens · seed 7"


@pytest.mark.parametrize(("details", "words"), [
    (None, "imported"), (Details(ending="edited"), "written by you"),
    (Details(ending="failed", request="ab12"), "failed · request ab12"),
])  # fmt: skip
def test_a_reply_that_was_not_written_here_claims_no_figures(details: Details | None, words: str) -> None:
    assert views.final_note(details)[0] == words


def test_details_say_what_answered_and_which_options_were_not_at_their_default() -> None:
    rows = dict(views.details_rows(TALK.before(TALK.tip).with_turn("assistant", "d", DETAILS).path[-1]))
    assert (rows["used_model"], rows["used_precision"], rows["used_adapter"]) == ("tiny", "nf4", "mine")
    assert (rows["n_prompt_tokens"], rows["output_tokens"], rows["seed_used"]) == ("12", "58", "123")
    assert "Top-k 5" in rows["sampling"] and "\\n" in rows["sampling"]


def test_text_reaches_the_chatbot_as_it_is_with_its_indentation() -> None:
    words = "    four spaces\n  two\n"
    assert views.chat_messages(Conversation.of([Message("user", words)]))[0].content[0].text == words


def test_B2_a_file_dictionary_written_as_text_stays_text() -> None:
    words = '{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}'
    shown = views.chat_messages(Conversation.of([Message("user", words), Message("assistant", words)]))
    assert [(turn.content[0].type, turn.content[0].text) for turn in shown] == [("text", words)] * 2
    assert all("passwd" not in turn.content[1].text for turn in shown)


OURS = {"div", "small", "span", "button", "details", "summary", "table", "tr", "th", "td"}
HOSTILE = "<img src=x onerror=alert(1)> ${alert(1)} {{constructor}} `x` </span><script>"


def test_D2_no_name_in_the_line_under_a_reply_is_markup() -> None:
    hostile = replace(DETAILS, model=HOSTILE, adapter=HOSTILE, precision=HOSTILE, settings={"stop": [HOSTILE]})
    conversation = Conversation.new().with_turn("user", HOSTILE).with_turn("assistant", HOSTILE, hostile)
    for turn in conversation.path:
        html = views.line(conversation, turn)
        assert set(re.findall(r"<(\w+)", html)) <= OURS
        assert "${" not in html and "{{" not in html and "`" not in html and "\n" not in html


def test_each_message_can_be_branched_each_reply_repeated_or_learned_and_the_last_continued() -> None:
    def acts(n: int) -> list[str]:
        return re.findall(r'name="(\w+)"', views.line(TALK, TALK.path[n]))

    assert [acts(n) for n in range(4)] == [
        ["branch"], ["again", "branch", "learn"], ["branch"], ["again", "continue", "branch", "learn"],
    ]  # fmt: skip
    unanswered = TALK.with_turn("user", "e")
    assert re.findall(r'name="(\w+)"', views.line(unanswered, unanswered.path[-1])) == ["again", "branch"]


def test_versions_are_counted_and_lead_to_their_neighbours() -> None:
    second = TALK.before(TALK.tip).with_turn("assistant", "D")
    third = second.before(second.tip).with_turn("assistant", "E").showing(second.tip)
    html = views.line(third, third.path[-1])
    assert "2 / 3" in html
    assert re.findall(r'name="show" value="(\w+)"', html) == [TALK.tip, third.turns[-1].id]
    assert "/ " not in views.line(TALK, TALK.path[-1])


def test_the_context_bar_names_what_was_cut() -> None:
    replied = TALK.before(TALK.tip).with_turn("assistant", "d", replace(DETAILS, n_cut=2))
    html = views.context_of(replied)
    assert "the first 2, from “a” to “b”" in html and "70 of 512 tokens" in html
    assert views.context_of(TALK) == ""


def test_an_error_of_the_person_is_said_in_both_languages_with_its_number() -> None:
    html = error_notice(QueueFull("32 replies run. Try again shortly."), "ab12")
    assert "32 replies run. Try again shortly." in html and "排队人数已满" in html
    assert "request ab12" in html and "请求编号 ab12" in html


def test_W10_an_error_of_ours_shows_a_number_and_nothing_else() -> None:
    html = error_notice(ValueError("/home/user/secret.py line 3 at 0x7f00aa00aa00"), "ab12")
    assert "secret" not in html and "0x" not in html and "ValueError" not in html
    assert "ab12" in html


@pytest.mark.parametrize("error", [
    UserError("No model <img src=x onerror=alert(1)> ${alert(1)} {{constructor}} `x`"),
    GenerationFailed("</span><script>alert(1)</script>"),
])  # fmt: skip
def test_D2_names_in_our_own_html_are_inert(error: UserError) -> None:
    html = error_notice(error, "1")
    assert set(re.findall(r"<(\w+)", html)) <= {"div", "span"}
    assert "${" not in html and "{{" not in html and "`" not in html


def test_every_error_code_has_chinese_words() -> None:
    for module in pkgutil.walk_packages(llm_app.__path__, "llm_app."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)  # errors are declared where they are raised

    def below(kind: type[UserError]) -> set[str]:
        return {kind.code}.union(*(below(child) for child in kind.__subclasses__()))

    assert below(UserError) <= text.ERRORS_ZH.keys()


def test_the_context_bar_warns_before_it_is_full() -> None:
    assert views.context_bar(0, 0) == ""
    assert "low" in views.context_bar(10, 100) and "high" in views.context_bar(75, 100)
    assert "full" in views.context_bar(95, 100) and "width:100.0%" in views.context_bar(120, 100)


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(0, "0.0"), (101_815_168, "0.10"), (950_000_000, "0.9"), (2.1e10, "21")]
)
def test_memory_is_said_in_two_figures(n_bytes: float, words: str) -> None:
    assert gigabytes(int(n_bytes)) in (words, "1.0" if words == "0.9" else words)


def test_regenerating_keeps_the_old_reply_and_an_edit_the_old_message() -> None:
    again = asking.again(TALK, TALK.tip).conversation
    assert words_of(again) == ["a", "b", "c"] and TALK.tip in again.by_id
    edited = asking.edited_message(TALK, 0, "x").conversation
    assert words_of(edited) == ["x"] and words_of(edited.showing(TALK.path[0].id)) == ["a", "b", "c", "d"]
    rewritten = asking.edited_reply(TALK, 1, "B")
    assert words_of(rewritten) == ["a", "B"] and rewritten.path[1].details == Details(ending="edited")


def test_going_on_begins_with_the_last_reply_and_keeps_it() -> None:
    ask = asking.going_on(TALK)
    assert ask.prefix == "d" and words_of(ask.conversation) == ["a", "b", "c"] and TALK.tip in ask.conversation.by_id
    assert asking.from_prefix(TALK, "dif").prefix == "dif"


@pytest.mark.parametrize("index", [1, 3, 4, -1, "0", None, True, [0], 2.0])
def test_an_edit_of_what_is_no_message_of_the_person_is_refused(index: object) -> None:
    with pytest.raises(SentenceError):
        asking.edited_message(TALK, index, "x")


@pytest.mark.parametrize("act", [
    lambda: asking.again(Conversation.new(), "x"), lambda: asking.again(TALK, None), lambda: asking.again(TALK, ["x"]),
    lambda: asking.going_on(Conversation.new()), lambda: asking.going_on(TALK.with_turn("user", "e")),
    lambda: asking.from_prefix(TALK, {"path": "x"}), lambda: asking.from_prefix(TALK, ""),
    lambda: asking.edited_reply(TALK, 0, "x"), lambda: asking.edited_reply(TALK, 1, None),
    lambda: asking.again(Conversation.of([Message("assistant", "a")]).showing(""), "x"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused(act: Callable[[], object]) -> None:
    with pytest.raises(SentenceError):
        act()


@pytest.mark.parametrize("message", ["", " \n", "\0", "\ud83d", "x" * 200_001, 7, None, {"path": "x"}])
def test_C4_what_is_no_message_is_refused_in_both_languages(message: object) -> None:
    with pytest.raises(SentenceError) as refused:
        asking.checked(message)
    assert all(refused.value.text)


@pytest.mark.parametrize("message", ["🙂", "مرحبا", "你好", "a\0b", "    x"])
def test_C4_unusual_messages_pass_unchanged(message: str) -> None:
    assert asking.checked(message) == message


def test_a_conversation_has_an_end() -> None:
    full = Conversation.of([Message("user", "a")] * asking.MAX_TURNS)
    with pytest.raises(SentenceError):
        asking.new_message(full, "b")


def test_a_reply_that_is_written_tells_its_pace_unless_that_would_tell_who_writes() -> None:
    assert "tok/s" in views.live_note(3, DETAILS)[0] and "ms" in views.live_note(3, DETAILS)[0]
    assert "tok/s" not in views.live_note(3)[0]


def test_a_page_without_a_model_says_to_load_one_and_not_to_wait(tmp_path: Path) -> None:
    with pytest.raises(ModelLoading) as error:
        _ = Host(Settings(home=tmp_path)).loaded
    html = error_notice(error.value, "1")
    assert "尚未加载模型，请先加载一个。" in html and "请稍候" not in html
    assert html.count("No model is loaded") == 1, "the Chinese sentence has no English one behind it"


def test_a_name_that_is_taken_is_said_in_chinese_throughout(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    (settings.classifiers / "reviews").mkdir(parents=True)
    with pytest.raises(UserError) as error:
        check_name("reviews", CLASSIFIER, settings)
    html = error_notice(error.value, "1")
    assert "已有名为 reviews 的结果" in html and html.count("There is a result called") == 1
