"""The components of the data part, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class Panel:
    """What is shown of the data set that is picked. `columns`: by what they hold."""

    box: gr.Column
    about: gr.HTML
    layout: gr.Dropdown
    weight: gr.Number
    encoding: gr.Dropdown
    fold: gr.Accordion
    columns: Mapping[str, gr.Dropdown]
    split_at: gr.Textbox
    is_chat: gr.Checkbox
    preview: gr.HTML
    bad: gr.HTML
    remove: gr.Button

    @property
    def inputs(self) -> list[Any]:
        """What the form sends."""
        return [self.layout, self.weight, self.encoding, self.split_at, self.is_chat, *self.columns.values()]

    def all(self) -> list[Any]:
        """Every one of them."""
        return [self.box, self.about, self.fold, *self.inputs, self.preview, self.bad]


@dataclass(frozen=True)
class Parts:
    """The components that change. `data` stays on the server; `bring`: where files come in."""

    data: gr.State
    file: gr.File
    path: gr.Textbox
    notice: gr.HTML
    rows: gr.HTML
    radio: gr.Radio
    bring: gr.Column
    chosen: Panel
    is_open: gr.State
    answers: gr.Button
    votes: gr.Button
    kept: gr.HTML  # remembers over a reload what lies there

    def all(self) -> list[Any]:
        """Every one of them."""
        own = [getattr(self, field.name) for field in fields(self) if field.name != "chosen"]
        return [*own, *self.chosen.all()]
