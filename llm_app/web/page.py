"""The frame of the page, and how it is served."""

from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llm_app.services import Services
from llm_app.web import text
from llm_app.web.assets import PackPage, assets_route
from llm_app.web.benchmark.tab import build_benchmark_tab
from llm_app.web.chat.tab import build_chat_tab
from llm_app.web.classify.tab import build_classify_tab
from llm_app.web.look.theme import head, theme
from llm_app.web.model.bar import build_model_bar
from llm_app.web.sessions import keep_little
from llm_app.web.tune.tab import build_tune_tab
from llm_app.web.uploads import TidyUploads
from llm_app.web.visitor import GiveSecret

# A tab is one file and one line here: the name of its label, and what builds it.
TABS = (
    ("tab_chat", build_chat_tab), ("tab_classify", build_classify_tab), ("tab_benchmark", build_benchmark_tab),
    ("tab_tune", build_tune_tab),
)  # fmt: skip

MAX_SESSIONS = 200  # by default gradio keeps 10,000 of them
MAX_THREADS = 64  # 40 would mean the process-wide limiter, and API routes would wait behind slow handlers
MAX_QUEUE = 128
CLEAN_EVERY_SECONDS, FILE_AGE_SECONDS = 600, 3_600

# What gradio says of components and events for its page about the API, which is not there, and what none of its
# scripts reads; a fifth of what a browser gets.
UNREAD = (
    "api_info", "api_info_as_input", "api_info_as_output", "example_inputs", "component_class_id", "skip_api",
    "preserved_by_key", "delete_callback", "max_batch_size", "collects_event_data",
)  # fmt: skip

# Routes of gradio that this page never asks for: links that write files, other people's servers, editing, figures.
CLOSED = (
    "/gradio_api/deep_link", "/gradio_api/proxy=", "/gradio_api/vibe-", "/gradio_api/undo-vibe-edit",
    "/gradio_api/process_recording", "/gradio_api/run-history", "/gradio_api/runs",
    "/gradio_api/profiling", "/monitoring",
)  # fmt: skip


def build_page(services: Services) -> gr.Blocks:
    """The page, not yet served."""
    page = gr.Blocks(
        title="Proofbench",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(CLEAN_EVERY_SECONDS, FILE_AGE_SECONDS),
    )
    with page:
        build_model_bar(page, services)
        with gr.Tabs(elem_classes="rooms"):
            for name, build in TABS:
                with gr.Tab(text.label(name), id=name):
                    build(page, services)
    _hand_over_as_sent(page)
    _spare_progress(page)
    return page


def _hand_over_as_sent(page: gr.Blocks) -> None:
    """Give handlers what the browser sent as it is, so that they can refuse it.

    gradio's own text box turns a dictionary into its text and its number box True into 1. Uploads stay gradio's: it
    checks that a file is one of this visitor's.
    """
    for function in page.fns.values():
        function.preprocess = any(isinstance(component, gr.File) for component in function.inputs)


def _spare_progress(page: gr.Blocks) -> None:
    """Let only replies tell a component, the conversation, that an event is under way: nothing else here shows it.

    Otherwise every event, each tick of a timer too, would search the whole page for each component that any event
    has changed so far: 0.15 s a time, in which nothing answers.
    """
    for function in page.fns.values():
        is_reply = function.queue
        function.show_progress_on = [c for c in function.outputs if is_reply and isinstance(c, gr.Chatbot)]


def mount_page(api: Starlette, services: Services) -> gr.Blocks:
    """Serve the page at / of the given application.

    Every setting stands here although some are defaults: they are part of what keeps visitors apart, and defaults
    of `mount_gradio_app` differ from those of `launch`.
    """
    page = build_page(services)
    # mount_gradio_app has no parameter for these two, and the queue reads the second.
    page.state_session_capacity = MAX_SESSIONS
    page.max_threads = MAX_THREADS
    if services.settings.is_public:
        api.add_middleware(GiveSecret)
    api.add_middleware(PackPage)
    api.add_middleware(TidyUploads, folder=Path(get_upload_folder()))
    page.queue(api_open=False, max_size=MAX_QUEUE, default_concurrency_limit=1)
    api.router.routes.extend(Route(f"{path}{{rest:path}}", _Closed(), include_in_schema=False) for path in CLOSED)
    api.router.routes.append(assets_route())
    gr.mount_gradio_app(
        api, page, path="/",
        show_error=False, max_file_size="20mb", allowed_paths=[], blocked_paths=blocked_paths(services),
        enable_monitoring=False, run_history=False, mcp_server=False, ssr_mode=False, pwa=False, footer_links=[],
        favicon_path=str(Path(__file__).parent / "look" / "icon.png"),
        theme=theme(), head=head(), i18n=text.I18N,
    )  # fmt: skip
    keep_little(api, page)
    _settle(page)
    return page


def _settle(page: gr.Blocks) -> None:
    """Change what gradio tells the browser of the components, where that costs time and says nothing.

    An event of this page is never called as an API. A state's value is never told, but gradio's script takes the
    null that it gets after an event for a change if it was not told null before, and asks for all that hangs on it.
    """
    components = page.config["components"]
    told = [*components, *(component["props"] for component in components), *page.config["dependencies"]]
    for part in told:
        for name in UNREAD:
            part.pop(name, None)
    for component in components:
        if component["type"] == "state":
            component["props"]["value"] = None


class _Closed:
    """Answers 404 to every method."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raise what the application turns into the answer."""
        raise HTTPException(404)


def blocked_paths(services: Services) -> list[str]:
    """Folders no file of which is ever handed out, whatever a handler returns."""
    settings = services.settings
    folders = [settings.home, Path.home(), Path.cwd(), Path(__file__).parents[2]]
    if settings.data is not None:
        folders.append(settings.data)
    return sorted({str(folder.resolve()) for folder in folders})
