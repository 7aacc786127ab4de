"""The components of what a run came to, by name."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class Parts:
    """Those that change. `cell`: the (true, answer) of the confusion matrix whose rows are shown, or None.

    `place`: how many rows stand before the first that is shown; `seen`: what stands in the browser already; `due`: a
    word that differs for each state of a run that is over, whose figures are wanted then.
    """

    box: gr.Column
    order: gr.Radio
    chip: gr.HTML
    rows: gr.HTML
    position: gr.HTML
    back: gr.Button
    on: gr.Button
    scores: gr.HTML
    confusion: gr.HTML
    calibration: gr.HTML
    threshold: gr.Slider
    at_threshold: gr.HTML
    other: gr.Dropdown
    versus: gr.HTML
    notice: gr.HTML
    csv: gr.Button
    export: gr.Button
    use: gr.Button
    save: gr.DownloadButton
    model: gr.Dropdown
    opener: gr.HTML
    timer: gr.Timer
    cell: gr.State
    place: gr.State
    seen: gr.State
    due: gr.Textbox

    def all(self) -> list[Any]:
        """Every one of them."""
        return [getattr(self, field.name) for field in fields(self)]
