"""What is kept of each open page, by gradio's name for it: a session."""

from copy import copy
from datetime import datetime, timedelta
from typing import Any

import gradio as gr
from gradio.routes import App
from gradio.state_holder import SessionState, StateHolder
from starlette.applications import Starlette
from starlette.routing import Mount

CLOSED_FOR = timedelta(hours=1)  # a browser that lost its connection for less finds its page as it was


class Session(SessionState):
    """A session without what gradio keeps for its deep links, which this page does not give.

    That would be the description of every component, filled anew for each visitor and changed with each event: some
    megabytes, and a good part of a first event's time.
    """

    def __init__(self, blocks: gr.Blocks) -> None:
        self.blocks_config = copy(blocks.default_config)
        self.config_values: dict[int, dict[str, Any]] = {}
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = int(CLOSED_FOR.total_seconds())

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


class Sessions(StateHolder):
    """All sessions; one whose browser has gone is forgotten after a while, not only its values."""

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = Session(self.blocks)
        return super().__getitem__(session_id)

    def delete_all_expired_state(self) -> None:
        """What gradio calls every few minutes."""
        super().delete_all_expired_state()
        long_ago = datetime.now() - CLOSED_FOR
        with self.lock:
            for session_id, session in list(self.session_data.items()):
                if session.is_closed and self.time_last_used[session_id] < long_ago:
                    del self.session_data[session_id], self.time_last_used[session_id]


def keep_little(api: Starlette, page: gr.Blocks) -> None:
    """Let the page, mounted on this application, keep its sessions here."""
    (mounted,) = (route.app for route in api.router.routes if isinstance(route, Mount) and isinstance(route.app, App))
    sessions = Sessions()
    sessions.set_blocks(page)
    mounted.state_holder = sessions
