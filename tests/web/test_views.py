"""What is shown for what happened: pure functions, no server."""

import importlib
import pkgutil
import re

import pytest

import llm_app
from llm_app.errors import GenerationFailed, QueueFull, UserError
from llm_app.messages import Message, Usage
from llm_app.web import text
from llm_app.web.chat import views
from llm_app.web.chat.handlers import MAX_TURNS, checked, up_to_last_message, with_edit
from llm_app.web.chat.views import Turn
from llm_app.web.failures import SentenceError, error_notice
from llm_app.web.views import gigabytes

USAGE = Usage(n_prompt_tokens=12, n_output_tokens=58, seconds_to_first_token=0.036, seconds_total=0.545, seed=123)
TALK = [Turn("user", "a"), Turn("assistant", "b", ("n", "n")), Turn("user", "c"), Turn("assistant", "d", ("n", "n"))]


def test_the_line_under_a_reply_has_speed_first_token_length_and_seed() -> None:
    assert views.final_note(USAGE, "stop")[0] == "112 tok/s · 36 ms · 58 tokens · seed 123"
    assert views.final_note(USAGE, "stop")[1] == "112 词元/秒 · 36 毫秒 · 58 词元 · 种子 123"


@pytest.mark.parametrize(("reason", "words"), [
    ("cancelled", "stopped"), ("length", "ended at the token limit"), ("time", "ended at the time limit")
])  # fmt: skip
def test_an_end_that_was_not_the_models_own_is_said(reason: str, words: str) -> None:
    assert views.final_note(USAGE, reason)[0].startswith(words + " · ")


def test_a_reply_stopped_before_its_first_token_claims_no_speed() -> None:
    note = views.final_note(Usage(12, 0, 0.2, 0.2, 7), "cancelled")[0]
    assert note == "stopped · 0 tokens · seed 7"


def test_text_reaches_the_chatbot_as_it_is_with_its_indentation() -> None:
    words = "    four spaces\n  two\n"
    assert views.chat_messages([Turn("user", words)])[0].content[0].text == words


def test_B2_a_file_dictionary_written_as_text_stays_text() -> None:
    words = '{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}'
    shown = views.chat_messages([Turn("user", words), Turn("assistant", words)])
    assert [(part.type, part.text) for turn in shown for part in turn.content] == [("text", words)] * 2


def test_the_model_gets_the_system_prompt_first_and_no_empty_reply() -> None:
    turns = [Turn("user", "a"), Turn("assistant", "", ("stopped", "已停止")), Turn("user", "b")]
    assert views.model_messages(turns, "be brief") == [
        Message("system", "be brief"), Message("user", "a"), Message("user", "b")
    ]  # fmt: skip
    assert views.model_messages(turns[:1], "  ") == [Message("user", "a")]


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


def test_regenerate_takes_the_last_message_and_edit_drops_what_followed() -> None:
    assert up_to_last_message(TALK) == TALK[:3]
    assert with_edit(TALK, 0, "x") == [Turn("user", "x")]
    assert with_edit(TALK, 2, "x") == [*TALK[:2], Turn("user", "x")]


@pytest.mark.parametrize("index", [1, 3, 4, -1, "0", None, True, [0], 2.0])
def test_an_edit_of_what_is_no_message_of_the_person_is_refused(index: object) -> None:
    with pytest.raises(SentenceError):
        with_edit(TALK, index, "x")


def test_regenerate_without_a_message_is_refused() -> None:
    with pytest.raises(SentenceError):
        up_to_last_message([])


@pytest.mark.parametrize("message", ["", " \n", "\0", "\ud83d", "x" * 200_001, 7, None, {"path": "x"}])
def test_C4_what_is_no_message_is_refused_in_both_languages(message: object) -> None:
    with pytest.raises(SentenceError) as refused:
        checked(message, [])
    assert all(refused.value.text)


@pytest.mark.parametrize("message", ["🙂", "مرحبا", "你好", "a\0b", "    x"])
def test_C4_unusual_messages_pass_unchanged(message: str) -> None:
    assert checked(message, []) == message


def test_a_conversation_has_an_end() -> None:
    with pytest.raises(SentenceError):
        checked("a", [Turn("user", "a")] * MAX_TURNS)
