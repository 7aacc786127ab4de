"""What the server keeps of each open page."""

from datetime import datetime, timedelta
from pathlib import Path

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from llm_app.web.sessions import CLOSED_FOR, Session, Sessions
from tests.web.site import serving


@pytest.fixture
def page() -> gr.Blocks:
    with gr.Blocks() as page:
        gr.State(0)
        gr.Textbox("hello")
    return page


@pytest.fixture
def sessions(page: gr.Blocks) -> Sessions:
    sessions = Sessions()
    sessions.set_blocks(page)
    return sessions


def test_a_session_has_all_that_gradio_gives_one(page: gr.Blocks) -> None:
    assert {name: type(value) for name, value in vars(Session(page)).items()} == {
        name: type(value) for name, value in vars(SessionState(page)).items()
    }


def test_the_served_page_keeps_no_description_of_its_components_for_a_visitor(tiny_llama: Path, tmp_path: Path) -> None:
    with serving(tmp_path / "home", tiny_llama) as site:
        site.ask("send", "click", "mine", message="hello", option_max_new_tokens=2)
        assert site.page.state_holder["mine"].config_values == {}
        assert site.page.state_holder["mine"].state_data  # it has been there


@pytest.mark.parametrize(("is_closed", "age", "is_kept"), [
    (True, CLOSED_FOR * 1.1, False), (True, CLOSED_FOR * 0.9, True), (False, CLOSED_FOR * 9, True),
])  # fmt: skip
def test_a_session_is_forgotten_when_its_browser_has_been_gone_for_long(
    sessions: Sessions, is_closed: bool, age: timedelta, is_kept: bool
) -> None:
    sessions["one"].is_closed = is_closed
    sessions.time_last_used["one"] = datetime.now() - age
    sessions.delete_all_expired_state()
    assert ("one" in sessions, "one" in sessions.time_last_used) == (is_kept, is_kept)
