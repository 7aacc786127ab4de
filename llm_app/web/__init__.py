"""The web page. The only room that knows gradio."""

from llm_app.web.stubs import without_stubs

with without_stubs():
    import gradio  # noqa: F401

from llm_app.web.page import build_page, mount_page

__all__ = ["build_page", "mount_page"]
