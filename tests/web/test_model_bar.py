"""The strip above the tabs: what it offers, what it says before it acts, and that it fetches nothing unasked."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_app.config import PRECISIONS, ModelConfig
from llm_app.engine import fit
from llm_app.engine.catalog import find_model
from llm_app.engine.fit import Fit, MemoryUse
from llm_app.engine.hub import NoNetwork, Offer
from llm_app.engine.second import SecondModel
from llm_app.errors import UserError
from llm_app.web.model import views
from llm_app.web.model.adapters import pressed
from llm_app.web.model.details import AdapterShelf, sample_prompt
from llm_app.web.model.loader import Loader
from llm_app.web.model.status import status_html
from tests import tiny
from tests.live import wait_for, wait_until_loaded
from tests.web.keeping import at_once
from tests.web.site import Site, serving


@pytest.fixture(scope="module")
def site(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("home")
    other = tiny.make_model(tmp_path_factory.mktemp("other") / "narrow", hidden=32)
    tiny.make_adapter(tiny_llama, home / "adapters" / "poet")
    tiny.make_adapter(other, home / "adapters" / "narrow-one")
    with serving(home, tiny_llama) as site:
        tiny.make_gguf(tiny_llama, home / "models" / "packed.gguf")
        yield site


def ask(site: Site, **form: object) -> str:
    """What is said about memory once something else is chosen."""
    values = {"model": "tiny", "adapter": "", "precision": "fp32", "device": "auto", "context_length": 0} | form
    return str(site.shown(site.ask("model", "input", **values), "fit", ("model", "input")))


def test_a_precision_that_is_not_loaded_is_told_with_what_it_needs_and_what_is_free(site: Site) -> None:
    assert "Needs about" in ask(site, precision="nf4") and "GB free" in ask(site, precision="nf4")


def test_what_is_loaded_already_needs_nothing(site: Site) -> None:
    assert ask(site) == ""


def test_what_does_not_fit_is_told_with_the_nearest_choice_by_its_name() -> None:
    said = views.fit_line(Fit(5 * 10**9, 2 * 10**9, "nf4", 13 * 10**8))
    assert "Needs about 5.0 GB, only 2.0 GB free. 4-bit nf4 would need 1.3 GB." in said and "warning" in said
    assert "4 位 nf4" in said


def test_packed_blocks_are_offered_for_gguf_files_only(site: Site) -> None:
    settings = site.services.settings
    assert "gguf" not in fit.precisions(find_model("tiny", settings))
    assert fit.precisions(find_model("packed.gguf", settings)) == PRECISIONS


def test_a_shorter_context_needs_less_memory(site: Site) -> None:
    entry = find_model("tiny", site.services.settings)
    whole, short = (fit.estimate(entry, ModelConfig("tiny", context_length=n)).needs_bytes for n in (0, 64))
    assert short < whole


def test_a_hub_name_that_is_not_here_is_asked_about_and_nothing_is_fetched(site: Site) -> None:
    said = ask(site, model="org/model")
    assert "org/model is not on this machine" in said and "nothing is downloaded" in said


def test_without_network_the_question_becomes_one_sentence(site: Site) -> None:
    loader = Loader(site.host, site.services.give_back, site.services.settings)
    loader.ask(ModelConfig("org/model"), "ab12")
    deadline = time.monotonic() + 30
    while loader.is_busy and time.monotonic() < deadline:
        time.sleep(0.01)
    assert isinstance(loader.failure, NoNetwork) and loader.stage == "idle"
    said = status_html(site.host.status(), loader, None)
    assert "No network" in said and "request" in said and "ab12" in said


def test_an_offer_is_a_question_with_size_and_room_and_nothing_starts_by_itself(site: Site) -> None:
    loader = Loader(site.host, site.services.give_back, site.services.settings)
    loader.offer, loader.stage = Offer("org/model", "main", {"a.safetensors": 12 * 10**8}, 50 * 10**9), "offered"
    said = status_html(site.host.status(), loader, None)
    assert "Download 1.2 GB?" in said and "50 GB of disk are free" in said and not loader.is_busy
    loader.cancel()
    assert loader.stage == "idle"


def test_each_adapter_of_this_machine_is_listed_with_whether_it_fits(site: Site) -> None:
    verdicts = {line.name: (line.verdict, line.why) for line in AdapterShelf(site.host).lines()}
    assert verdicts["poet"][0] in ("fits", "perhaps")
    assert verdicts["narrow-one"][0] == "misfit" and "numbers, not" in verdicts["narrow-one"][1]


def press(site: Site, elem_id: str, name: object, value: object, **form: object) -> dict[str, Any]:
    return at_once(site, elem_id, "click", "press", {"name": name, "value": value}, **form)


def test_several_adapters_are_at_hand_at_once_one_answers_and_each_can_be_taken_out(site: Site) -> None:
    host = site.host
    tiny.make_adapter(host.loaded.entry.path, site.services.settings.adapters / "critic")
    assert "at hand" in press(site, "adapter-presses", "attach", "poet")["adapters"] and host.adapter is None
    at_once(site, "adapter", "input", "press", adapter="critic")
    assert (host.adapter, set(host.loaded.adapters.offered)) == ("critic", {"poet", "critic"})
    at_once(site, "adapter", "input", "press", adapter="")
    assert (host.adapter, set(host.loaded.adapters.offered)) == (None, {"poet", "critic"})
    with pytest.raises(UserError, match="run is under way"):
        pressed(host, ["poet"], "detach", "poet", is_working=True)
    for name in ("critic", "poet"):
        press(site, "adapter-presses", "detach", name)
    assert host.loaded.adapters.names == ()


@pytest.mark.parametrize(("name", "value"), [
    ("attach", "../../etc"), ("attach", None), ("delete", "poet"), (None, "poet"), ("attach", ["poet"]),
])  # fmt: skip
def test_W6_an_adapter_that_the_table_does_not_hold_is_not_touched(site: Site, name: object, value: object) -> None:
    assert "notice error" in press(site, "adapter-presses", name, value)["fit"]
    assert site.host.loaded.adapters.names == ()


def test_the_precision_that_would_fit_is_a_press_away(site: Site) -> None:
    assert 'name="precision" value="nf4"' in views.fit_line(Fit(5 * 10**9, 2 * 10**9, "nf4", 13 * 10**8))
    form = {"model": "tiny", "adapter": "", "precision": "fp32", "device": "auto", "context_length": 0}
    chosen = press(site, "fit-presses", "precision", "bf16", **form)
    assert chosen["precision"]["value"] == "bf16" and "Needs about" in chosen["fit"]
    assert "notice error" in press(site, "fit-presses", "precision", {"a": 1}, **form)["fit"]


def test_checking_an_adapter_attaches_nothing(site: Site) -> None:
    AdapterShelf(site.host).lines()
    assert site.host.loaded.adapters.names == ()


def test_the_sample_prompt_is_that_of_transformers_with_special_tokens_marked(site: Site) -> None:
    # Oracle: apply_chat_template of transformers.
    tokenizer = site.host.loaded.tokenizer
    turns = [
        {"role": "system", "content": "You answer briefly."}, {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": "4"}, {"role": "user", "content": "And doubled?"},
    ]  # fmt: skip
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    said = sample_prompt(site.host.loaded)
    assert f"{len(ids)} tokens" in said
    assert said.count("<mark>&lt;|im_start|&gt;</mark>") == 5 and "<mark>&lt;|im_end|&gt;</mark>" in said


def test_D2_a_template_and_an_adapters_name_are_shown_as_text() -> None:
    evil = "<script>alert(1)</script>{{ x }}"
    line = views.AdapterLine(evil, evil, "misfit", evil)
    for html in (views.template_card(evil), views.adapter_table([line]), views.prompt_card(evil, 1, ["<script>"])):
        assert "<script>" not in html and "{{" not in html


def test_memory_is_shown_for_each_kind_that_there_is() -> None:
    html = views.memory_meter([MemoryUse(False, 4 * 10**8, 21 * 10**9), MemoryUse(True, 0, 24 * 10**9)])
    assert "0.40 / 21 GB" in html and "24 GB" in html and "GPU" in html


def test_what_was_said_about_memory_goes_once_another_model_answers(site: Site) -> None:
    # Asked with the state of another model, as a page that was open before the load.
    handler = next(fn.fn.__self__ for fn in site.page.fns.values() if getattr(fn.fn, "__name__", "") == "look")
    seen = handler.look("another model")
    assert next(value for part, value in seen.items() if part.elem_id == "fit") == ""
    current = next(value for part, value in seen.items() if type(part).__name__ == "State")
    assert not any(getattr(part, "elem_id", None) == "fit" for part in handler.look(current))


def test_W6_a_device_that_is_not_here_is_refused_in_a_sentence(site: Site) -> None:
    assert 'class="notice error"' in ask(site, context_length=-5)


def test_a_model_that_comes_to_the_folder_is_offered_without_a_reload(site: Site, tiny_llama: Path) -> None:
    handler = next(fn.fn.__self__ for fn in site.page.fns.values() if getattr(fn.fn, "__name__", "") == "look")
    before = next(value for part, value in handler.look("x").items() if type(part).__name__ == "State")
    shutil.copytree(tiny_llama, site.services.settings.models / "newcomer")
    offered = next(v for part, v in handler.look(before).items() if getattr(part, "elem_id", None) == "model")
    assert ("newcomer", "newcomer") in offered["choices"]


def with_second(site: Site) -> SecondModel:
    """The site with a second model that nobody asks."""
    second = site.services.second
    for _ in second.load(ModelConfig("tiny", precision="bf16")):
        pass
    assert second.host.status().state == "ready"
    return second


def test_a_second_model_is_given_back_where_the_next_one_does_not_fit_beside_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = with_second(site)
    monkeypatch.setattr(fit, "free_bytes", lambda device: 10**6 if second.host.status().state == "ready" else 10**11)
    said = ask(site, precision="nf4")
    assert second.host.status().state == "empty" and "warning" not in said


def test_a_second_model_is_given_back_before_another_is_loaded(site: Site) -> None:
    second = with_second(site)
    loader = Loader(site.host, second.give_back, site.services.settings)
    loader.load(ModelConfig("tiny", precision="fp32"), "ab12")
    wait_for(lambda: not loader.is_busy, 30)
    assert second.host.status().state == "empty" and loader.failure is None


def test_after_a_load_that_did_not_fit_what_would_is_a_press_away_and_load_works_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, handler = site.host, next(f.fn.__self__ for f in site.page.fns.values() if f.fn.__name__ == "look")
    host.unload()
    form = {"model": "tiny", "adapter": "", "device": "auto", "context_length": 0}
    needs = fit.estimate(find_model("tiny", site.services.settings), ModelConfig("tiny", precision="fp32")).needs_bytes
    monkeypatch.setattr(fit, "free_bytes", lambda device: needs - 1)
    at_once(site, "load", "click", "fails", precision="fp32", **form)

    def look() -> dict[str, Any]:
        return {part.elem_id: value for part, value in handler.look("before").items() if part.elem_id}

    wait_for(lambda: "Not loaded." in look()["model-status"], 30)
    shown = look()
    assert "Needs about" in shown["model-status"] and 'name="precision" value="bf16"' in shown["fit"]
    assert (shown["load"]["visible"], shown["load"]["variant"]) == (True, "primary") and "value" not in shown["adapter"]
    chosen = press(site, "fit-presses", "precision", "bf16", precision="fp32", **form)["precision"]["value"]
    at_once(site, "load", "click", "works", precision=chosen, **form)
    wait_until_loaded(host, 30)
    assert host.loaded.precision == "bf16"
    monkeypatch.undo()
    for _ in host.load(ModelConfig("tiny", precision="fp32")):
        pass


def test_unload_gives_the_second_model_back_too(site: Site) -> None:
    second = with_second(site)
    site.ask("unload", "click")
    assert second.host.status().state == "empty" and site.host.status().state == "empty"
    for _ in site.host.load(ModelConfig("tiny", precision="fp32")):
        pass
