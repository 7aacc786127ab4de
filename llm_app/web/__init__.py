"""The web page. The only room that knows gradio."""

from llm_app.web.page import build_page, mount_page

__all__ = ["build_page", "mount_page"]
