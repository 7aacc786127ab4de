"""The model bar: model, adapters, precision, device, context, template, Load and Unload, memory, and what fits."""

import json
import re
import shutil
from pathlib import Path

import torch
from playwright.sync_api import expect

from llm_app.engine import fit
from llm_app.engine.catalog import EMBEDDED_TITLE
from llm_app.web.model.views import PRECISION_NAMES
from tests.browser.walk.visitor import Visitor
from tests.web.site import MODEL

STATUS, SAID = "#model-status", "#fit"
GIGABYTES = r"[\d,.]+"


def make_huge(like: Path, folder: Path) -> Path:
    """A model whose one great matrix fits in 8 bits at the most. The file has holes: it takes no room on the disk."""
    folder.mkdir(parents=True)
    for file in like.iterdir():
        if file.suffix == ".json" or file.suffix == ".jinja":
            shutil.copy(file, folder)
    data = (like / "model.safetensors").read_bytes()
    n_header = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n_header])
    n_bytes = len(data) - 8 - n_header
    width = int(fit.free_bytes(torch.device("cpu")) * 0.7) // 4096
    header["model.layers.1.mlp.more.weight"] = {
        "dtype": "BF16", "shape": [width, 4096], "data_offsets": [n_bytes, n_bytes + 2 * width * 4096],
    }  # fmt: skip
    written = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(written).to_bytes(8, "little") + written + data[8 + n_header :])
        file.truncate(8 + len(written) + n_bytes + 2 * width * 4096)
    return folder


def walk_model_bar(visitor: Visitor) -> None:
    """Every clause of the screen, from what is offered to what is loaded."""
    the_model_that_answers_and_its_memory_are_told(visitor)
    models_are_offered_with_the_bundled_one_first(visitor)
    a_name_of_the_hub_is_asked_about_before_anything_is_fetched(visitor)
    every_precision_can_be_chosen_and_loaded(visitor)
    packed_blocks_are_kept_as_they_are(visitor)
    what_does_not_fit_is_refused_with_what_would(visitor)
    device_and_context_length_are_chosen(visitor)
    the_template_is_shown_and_a_prompt_as_the_model_gets_it(visitor)
    adapters_are_switched_and_several_are_at_hand(visitor)
    the_model_is_unloaded_and_loaded_again(visitor)


def load(visitor: Visitor, *said: str) -> None:
    """Press Load and wait for the line that says so."""
    visitor.press("#load")
    visitor.sees(STATUS, *said, visitor.word("ready"))


def the_model_that_answers_and_its_memory_are_told(visitor: Visitor) -> None:
    visitor.sees(STATUS, MODEL, "fp32", visitor.word("context_of", n=1024), visitor.word("ready"))
    visitor.sees("#memory", re.compile(rf"{GIGABYTES} / {GIGABYTES} GB"))
    if visitor.view.width > 760:
        visitor.sees("#memory", visitor.word("memory"))
    visitor.stage("model-1-answers")


def models_are_offered_with_the_bundled_one_first(visitor: Visitor) -> None:
    visitor.offers("#model", EMBEDDED_TITLE, "huge", "packed", MODEL)


def a_name_of_the_hub_is_asked_about_before_anything_is_fetched(visitor: Visitor) -> None:
    visitor.fill("#model", "org/model", "Enter")
    visitor.sees(SAID, visitor.word("not_fetched", model="org/model"))
    visitor.stage("model-2-hub")
    visitor.press("#load")
    visitor.sees(STATUS, visitor.word("load_failed"), MODEL)  # no network here; the model before goes on answering


def every_precision_can_be_chosen_and_loaded(visitor: Visitor) -> None:
    visitor.choose("#model", MODEL)
    names = [visitor.word(name) for name in PRECISION_NAMES.values()]
    visitor.offers("#precision", *names[:-1])
    for name in names[1:-1]:
        visitor.choose("#precision", name)
        if name == names[1]:
            continue  # loaded already
        visitor.sees(SAID, visitor.like("needs"))
        load(visitor, MODEL, name)
    visitor.stage("model-3-precision")


def packed_blocks_are_kept_as_they_are(visitor: Visitor) -> None:
    visitor.choose("#model", "packed")
    visitor.offers("#precision", *(visitor.word(name) for name in PRECISION_NAMES.values()))
    visitor.choose("#precision", visitor.word("precision_gguf"))
    visitor.sees(SAID, visitor.like("needs"))
    load(visitor, "packed", visitor.word("precision_gguf"))


def what_does_not_fit_is_refused_with_what_would(visitor: Visitor) -> None:
    visitor.choose("#model", "huge")
    visitor.choose("#precision", visitor.word("precision_auto"))
    visitor.sees(SAID, visitor.like("needs_less", precision=visitor.word("precision_int8")))
    visitor.stage("model-4-too-large")
    visitor.press("#load")
    visitor.sees(STATUS, visitor.word("load_failed"), "packed")
    visitor.stage("model-5-refused")
    visitor.press(visitor.at("#fit button[name=precision]"))
    visitor.sees(SAID, visitor.like("needs"))
    expect(visitor.page.locator("#precision input")).to_have_value(visitor.word("precision_int8"))


def device_and_context_length_are_chosen(visitor: Visitor) -> None:
    visitor.choose("#model", MODEL)
    visitor.choose("#precision", visitor.word("precision_fp32"))
    visitor.unfold("#model-more")
    visitor.choose("#device", visitor.word("device_cpu"))
    visitor.fill("#context-length", "256")
    load(visitor, MODEL, "fp32", visitor.word("context_of", n=256))


def the_template_is_shown_and_a_prompt_as_the_model_gets_it(visitor: Visitor) -> None:
    visitor.sees("#template", visitor.word("template"), visitor.like("template_found", family="ChatML"))
    visitor.press("#template summary")
    visitor.sees("#template pre", "add_generation_prompt")
    visitor.press(visitor.button("show_prompt"))
    visitor.sees("#prompt", "<|im_start|>user", visitor.like("prompt_tokens"))
    expect(visitor.page.locator("#prompt mark").first).to_have_text("<|im_start|>")
    visitor.stage("model-6-template")


def adapters_are_switched_and_several_are_at_hand(visitor: Visitor) -> None:
    visitor.offers("#adapter", visitor.word("adapter_absent"), "poet", "terse")
    visitor.choose("#adapter", "poet")
    visitor.sees(SAID, visitor.word("adapter_on", adapter="poet"))
    visitor.sees(STATUS, "poet")
    visitor.sees("#adapters", visitor.word("adapters_here"), visitor.word("adapter_answers"))
    visitor.press(visitor.button("adapter_have", "#adapters tr:has-text('terse')"))
    visitor.sees("#adapters tr:has-text('terse')", visitor.word("adapter_ready"))
    visitor.stage("model-7-adapters")
    visitor.choose("#adapter", visitor.word("adapter_absent"))
    visitor.sees(SAID, visitor.word("adapter_off"))


def the_model_is_unloaded_and_loaded_again(visitor: Visitor) -> None:
    visitor.press("#unload")
    visitor.sees(STATUS, visitor.word("nothing_loaded"))
    visitor.sees(SAID, visitor.word("unloaded"))
    visitor.stage("model-8-unloaded")
    load(visitor, MODEL)
