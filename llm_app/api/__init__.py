"""The OpenAI-compatible API. The only room that knows fastapi."""

from llm_app.api.app import build_api

__all__ = ["build_api"]
