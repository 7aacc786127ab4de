"""Measuring language models: tasks, metrics and statistics. A library of its own; imports nothing of llm_app."""
