"""The components of the table's part, by name."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class Parts:
    """Those that change. `laid` stays on the server: which table, and how it is read."""

    laid: gr.State
    is_open: gr.State
    bring: gr.Column
    file: gr.File
    brought: gr.HTML
    paste: gr.Textbox
    encoding: gr.Dropdown
    separator: gr.Dropdown
    header: gr.Dropdown
    notice: gr.HTML
    bad: gr.HTML
    box: gr.Column
    about: gr.HTML
    text: gr.Dropdown
    pair: gr.Dropdown
    truth: gr.Dropdown
    kind: gr.Dropdown
    split: gr.Textbox
    drops: gr.Checkbox
    preview: gr.HTML
    kept: gr.HTML  # remembers over a reload which table lies here

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]

    @property
    def columns(self) -> list[Any]:
        """What says what the columns are."""
        return [self.text, self.pair, self.truth, self.kind, self.split, self.drops]

    @property
    def reading(self) -> list[Any]:
        """What says how the file is read."""
        return [self.encoding, self.separator, self.header]
