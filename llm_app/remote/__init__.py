"""A model on another server, asked through its OpenAI-compatible API."""
