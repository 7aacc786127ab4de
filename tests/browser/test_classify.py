"""The Classify tab as a person uses it: from a broken table to a trained classifier and the CSV."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests import tiny
from tests.web.site import Site, serving

OpenPage = Callable[..., Page]
SLOW = 120_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    model = tiny.make_model(tmp_path_factory.mktemp("models") / "wide", n_context=1024)
    with serving(tmp_path_factory.mktemp("home"), model) as site:
        yield site
        site.services.shutdown(0.0)


def reviews(n: int) -> str:
    words = (("很好，下次再来", "好"), ("太差了，不会再来", "坏"))
    return "评论,标签\n" + "".join(f"{words[k % 2][0]}{k}号,{words[k % 2][1]}\n" for k in range(n))


def table_mode(page: Page) -> Page:
    page.get_by_role("tab", name="分类", exact=True).click()
    page.get_by_role("tab", name="表格", exact=True).click()
    return page


def test_a_gb18030_table_is_mended_classified_and_saved(open_page: OpenPage) -> None:
    page = table_mode(open_page(language="zh-CN"))
    page.click("#table-bring")
    broken = reviews(40).replace("很好，下次再来2号,好", "很好,下次再来2号,好")
    page.set_input_files("#table-file input[type=file]", files=[
        {"name": "评论.csv", "mimeType": "text/csv", "buffer": broken.encode("gb18030")}
    ])  # fmt: skip
    expect(page.locator("#table-bad")).to_contain_text("第 4 行")
    page.locator("#table-paste textarea").fill(reviews(40))
    page.click("#table-read")
    expect(page.locator("#table-about")).to_contain_text("40 行可以分类")
    expect(page.locator("#table-bad .notice")).to_have_count(0)
    expect(page.locator("#classify-plan")).to_contain_text("实测", timeout=SLOW)
    page.click("#classify-start")
    expect(page.locator("#classify-card .run.good")).to_be_visible(timeout=SLOW)
    page.get_by_role("tab", name="混淆矩阵").click()
    page.locator("#classify-confusion button[name=cell]").first.click()
    expect(page.locator("#classify-cell")).to_contain_text("真实为")
    expect(page.locator("#classified-rows details").first).to_be_visible()
    page.click("#classify-csv")
    with page.expect_download() as download:
        page.click("#classify-download")
    rows = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("评论,标签,line,label,probability") and len(rows) == 41


@pytest.mark.verify  # two processes that train are started
def test_a_training_is_stopped_resumed_and_what_it_learned_is_used_and_saved(open_page: OpenPage) -> None:
    page = table_mode(open_page(language="zh-CN"))
    page.click("#table-bring")
    page.locator("#table-paste textarea").fill(reviews(40))
    page.click("#table-read")
    expect(page.locator("#table-about")).to_contain_text("40 行可以分类")
    page.get_by_role("tab", name="用我的表格训练").click()
    page.locator("button.label-wrap:visible", has_text="训练").click()
    page.locator("#classifier-method input").click()
    page.get_by_role("option", name="lstm").click()
    for name, value in (("name", "mine"), ("epochs", "400")):
        page.locator(f"#classifier-{name}").locator("input, textarea").fill(value)
    page.click("#classify-train")
    expect(page.locator("#classify-card .run.live .curve").first).to_be_visible(timeout=SLOW)
    page.click("#classify-stop")
    expect(page.locator("#classify-resume")).to_be_visible(timeout=SLOW)
    page.click("#classify-resume")
    expect(page.locator("#classify-card .run.good")).to_be_visible(timeout=SLOW)
    page.click("#classify-use")
    expect(page.locator("#classify-model input")).to_have_value("mine")
    page.get_by_role("tab", name="单条文本").click()
    page.fill("#classify-text textarea", "太差了")
    page.click("#classify-go")
    expect(page.locator("#classify-verdict h3")).to_contain_text("坏", timeout=SLOW)
    expect(page.locator("#classify-words mark.for").first).to_be_visible()
    page.get_by_role("tab", name="用我的表格训练").click()
    page.click("#classify-export")
    with page.expect_download() as download:
        page.click("#classify-download")
    assert "classifier.json" in zipfile.ZipFile(download.value.path()).namelist()


def test_on_a_phone_nothing_is_wider_than_the_screen(open_page: OpenPage) -> None:
    page = open_page(width=390, height=844)
    page.get_by_role("tab", name="Classify", exact=True).click()
    page.get_by_role("tab", name="A table").click()
    page.click("#table-example")
    expect(page.locator("#table-about")).to_contain_text("60 rows")
    page.get_by_role("tab", name="Scores").click()
    expect(page.locator("#classify-scores table").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
