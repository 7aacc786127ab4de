"""Named entities and topics as a person uses them, in both languages."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from llm_app.classify.entities.config import EntityConfig
from llm_app.data.conll import read_conll
from llm_app.data.mix import DatasetSpec
from llm_app.jobs.tagger import TaggerData, start_tagger
from llm_app.jobs.train import Training
from llm_app.jobs.train_in_place import InPlace
from llm_app.web.classify.entities_handlers import EXAMPLE
from tests.classify.making import make_encoder
from tests.web.site import Site, serving
from tests.web.taggers import put_tagger

OpenPage = Callable[..., Page]
SLOW = 60_000
MIXED = "Clara Winther flew to Oslo .\n何佳在青岛工作。\n<b>Ida Lund</b> זוכרת את Toronto"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A tagger on the shelf, and the run of another."""
    with serving(tmp_path_factory.mktemp("home"), None) as site:
        settings = site.services.settings
        put_tagger(settings)
        data = TaggerData(DatasetSpec(str(EXAMPLE), name="names.txt"))
        folder = start_tagger(data, EntityConfig(method="features"), settings).folder
        for _ in Training(folder, settings, start=InPlace).run():
            pass
        yield site
        site.services.shutdown(0.0)


def part(page: Page, tab: str, name: str) -> Page:
    page.get_by_role("tab", name=tab, exact=True).click()
    page.get_by_role("tab", name=name, exact=True).click()
    return page


def is_as_wide_as_the_screen(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_entities_of_a_text_are_highlighted_in_both_languages(open_page: OpenPage) -> None:
    page = part(open_page(width=390, height=844), "Classify", "Entities")
    page.fill("#entities-text textarea", MIXED)
    page.click("#entities-find")
    marks = page.locator("#entities-found ol.tagged mark")
    expect(marks.first).to_have_text("Clara WintherPER")
    expect(page.locator("#entities-found mark", has_text="青岛")).to_have_text("青岛LOC")
    expect(page.locator("#entities-found")).to_contain_text("<b>Ida Lund")
    expect(page.locator("#entities-found .figures")).to_contain_text("entities in 3 sentences")
    page.click("#switch-language")
    expect(page.locator("#entities-found .figures")).to_contain_text("3 个句子中有")
    expect(page.locator("#entities-find")).to_have_text("识别实体")
    assert is_as_wide_as_the_screen(page)


def test_a_faulty_file_is_named_by_its_line_then_scored_and_saved(open_page: OpenPage) -> None:
    page = part(open_page(language="zh-CN"), "分类", "实体")
    few = "\n\n".join(EXAMPLE.read_text(encoding="utf-8").split("\n\n")[:6]) + "\n"
    broken = few.replace("Tarnby\tB-LOC", "Tarnby\tLOC-B", 1)
    page.locator("button.label-wrap:visible", has_text="上传文件").click()
    page.set_input_files("#entities-file input[type=file]", files=[
        {"name": "训练.conll", "mimeType": "text/plain", "buffer": broken.encode("utf-16")}
    ])  # fmt: skip
    expect(page.locator("#entities-about")).to_contain_text("第 5 行")
    page.locator("#entities-text textarea").fill(few)
    page.click("#entities-find")
    expect(page.locator("#entities-found")).to_contain_text("实体得分", timeout=SLOW)
    expect(page.locator("#entities-about .notice.warning")).to_have_count(0)
    with page.expect_download() as download:
        page.click("#entities-save")
    assert len(read_conll(Path(download.value.path())).sentences) == 6


def test_what_was_trained_is_used_by_a_press_and_its_mistakes_open_their_sentences(open_page: OpenPage) -> None:
    page = part(open_page(), "Classify", "Entities")
    page.locator("#classify-list label").first.click()
    page.click("#classify-card button[name=use-tagger]")
    expect(page.locator("#entities-tagger input")).to_have_value("names-features-tagger-1")
    wrong = page.locator("#entities-found details.sample").first
    wrong.locator("summary").click()
    expect(wrong.locator("p.tagged")).to_have_count(2)


def test_topics_are_mapped_read_with_the_arrow_keys_and_saved(open_page: OpenPage, tmp_path: Path) -> None:
    encoder = make_encoder(tmp_path / "bert", has_head=False)
    page = part(open_page(width=390, height=844), "Classify", "Topics")
    expect(page.locator("#topics-found")).to_contain_text("A table")
    page.locator("#topics-encoder").locator("input, textarea").fill(str(encoder))
    page.click("#topics-example")
    expect(page.locator("#topics-found .topic-mark")).to_have_count(60, timeout=SLOW)
    assert is_as_wide_as_the_screen(page)
    radios = page.locator("#topics-found input[name=topic-map]")
    radios.first.focus()
    page.keyboard.press("ArrowDown")
    expect(radios.nth(1)).to_be_focused()
    expect(page.locator("#topics-found label:has(:focus) .tip")).to_have_css("opacity", "1")
    with page.expect_download() as download:
        page.click("#topics-save")
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 60


@pytest.mark.verify  # processes that train are started
@pytest.mark.timeout(400)
def test_a_tagger_is_trained_on_the_example_stopped_resumed_and_used(open_page: OpenPage) -> None:
    page = part(open_page(), "Classify", "Entities")
    page.click("#entities-example")
    expect(page.locator("#entities-text textarea")).to_have_value(EXAMPLE.read_text(encoding="utf-8"))
    page.locator("button.label-wrap:visible", has_text="Training of a tagger").click()
    page.locator("#tagger-epochs").locator("input").first.fill("12")
    page.click("#tagger-train")
    expect(page.locator("#classify-card .run.live .curve").first).to_be_visible(timeout=SLOW)
    page.click("#classify-stop")
    expect(page.locator("#classify-resume")).to_be_visible(timeout=SLOW)
    page.click("#classify-resume")
    expect(page.locator("#classify-card .run.good")).to_be_visible(timeout=3 * SLOW)
    page.click("#classify-card button[name=use-tagger]")
    expect(page.locator("#entities-found ol.tagged mark").first).to_be_visible()
