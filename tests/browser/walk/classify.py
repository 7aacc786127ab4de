"""The Classify tab: from a broken table to a trained classifier and the CSV that it fills."""

import csv
from pathlib import Path

from playwright.sync_api import expect

from llm_app.classify.config import ClassifierConfig
from tests.browser.walk.visitor import Visitor

WORDS = (("很好，下次再来", "好"), ("太差了，不会再来", "坏"))
N_ROWS, BROKEN_LINE = 40, 4
TABLE = "评论,标签\n" + "".join(f"{WORDS[n % 2][0]}{n}号,{WORDS[n % 2][1]}\n" for n in range(N_ROWS))
# An ASCII comma splits one row into a cell too many.
BROKEN = TABLE.replace("很好，下次再来2号", "很好,下次再来2号")
CARD = "#classify-card .run"
TRAINING_MS = 120_000  # a process starts, and reads its libraries


def walk_classify(visitor: Visitor) -> None:
    """From the upload to the download."""
    visitor.tab("tab_classify")
    a_broken_row_is_told_with_its_line(visitor)
    it_is_mended_where_it_stands(visitor)
    the_table_is_classified(visitor)
    a_cell_of_the_confusion_opens_its_rows(visitor)
    a_classifier_is_trained_stopped_and_resumed(visitor)
    it_fills_the_table(visitor)


def mode(visitor: Visitor, name: str) -> None:
    visitor.tab(name, ".work.classify .modes > .tab-wrapper")


def a_broken_row_is_told_with_its_line(visitor: Visitor) -> None:
    mode(visitor, "mode_classify_table")
    visitor.press("#table-bring")
    file = {"name": "评论.csv", "mimeType": "text/csv", "buffer": BROKEN.encode("gb18030")}
    visitor.page.set_input_files("#table-file input[type=file]", files=[file])  # type: ignore[list-item]
    visitor.sees("#table-bad", visitor.word("table_bad_rows", n=1), visitor.word("tune_at_line", n=BROKEN_LINE))
    visitor.sees("#table-about", visitor.word("table_about", title="评论.csv", n=N_ROWS - 1), "GB18030")
    visitor.sees("#table-brought", "评论.csv", visitor.word("table_one_bad"))
    expect(visitor.page.locator("#table-bad .notice")).to_be_in_viewport()
    visitor.stage("classify-1-broken")


def it_is_mended_where_it_stands(visitor: Visitor) -> None:
    paste = visitor.page.locator("#table-paste textarea")
    expect(paste).to_have_value(BROKEN)
    paste.fill(TABLE)
    visitor.press("#table-read")
    visitor.sees("#table-about", visitor.word("table_about", title="评论.csv", n=N_ROWS))
    expect(visitor.page.locator("#table-bad .notice")).to_have_count(0)
    visitor.sees("#classify-plan", visitor.like("classify_plan_measured"))
    visitor.stage("classify-2-mended")


def the_table_is_classified(visitor: Visitor) -> None:
    visitor.press("#classify-start")
    expect(visitor.page.locator(CARD)).to_be_in_viewport(ratio=1)
    expect(visitor.page.locator(f"{CARD}.good")).to_be_visible(timeout=TRAINING_MS)
    visitor.tab("result_view_scores", "#classify-results .views > .tab-wrapper")
    visitor.sees("#classify-scores", visitor.word("figure_accuracy"))
    visitor.stage("classify-3-scores")


def a_cell_of_the_confusion_opens_its_rows(visitor: Visitor) -> None:
    visitor.tab("result_view_confusion", "#classify-results .views > .tab-wrapper")
    cell = visitor.page.locator("#classify-confusion button[name=cell]").first
    n = int(cell.inner_text().split()[0].replace(",", ""))
    visitor.stage("classify-4-confusion")
    visitor.press(cell)
    visitor.sees("#classify-cell", visitor.like("rows_of_cell"))
    expect(visitor.page.locator("#classified-rows details")).to_have_count(min(n, 20))
    visitor.stage("classify-5-cell")


def a_classifier_is_trained_stopped_and_resumed(visitor: Visitor) -> None:
    page = visitor.page
    mode(visitor, "mode_classify_train")
    visitor.unfold(visitor.fold_named("classify_training_fold"))
    visitor.choose("#classifier-method", visitor.word("train_method_lstm"))
    for field, value in (("name", "mine"), ("epochs", "400")):
        visitor.fill(f"#classifier-{field}", value)
    expect(page.locator("#classifier-method")).to_contain_text(visitor.label(ClassifierConfig, "method"))
    visitor.stage("classify-6-settings")
    visitor.press("#classify-train")
    expect(page.locator(f"{CARD}.live .curve").first).to_be_visible(timeout=TRAINING_MS)
    stop, bar = (page.locator(where).first.bounding_box() for where in ("#classify-stop", f"{CARD} .bar"))
    assert stop and bar and stop["y"] < bar["y"], "Stop stands in the card's head, wherever its end is"
    visitor.press("#classify-stop")
    expect(page.locator("#classify-resume")).to_be_visible(timeout=TRAINING_MS)
    visitor.sees("#classify-card", visitor.word("state_cancelled"))
    visitor.stage("classify-7-stopped")
    visitor.press("#classify-resume")
    expect(page.locator(f"{CARD}.good")).to_be_visible(timeout=TRAINING_MS)
    visitor.sees("#classify-card", visitor.word("method_lstm"), visitor.word("method_majority"))
    visitor.stage("classify-8-trained")


def it_fills_the_table(visitor: Visitor) -> None:
    page = visitor.page
    visitor.press("#classify-use")
    expect(page.locator("#classify-model input")).to_have_value("mine")
    mode(visitor, "mode_classify_table")
    visitor.sees("#classify-plan", "mine")
    visitor.press("#classify-start")
    expect(page.locator(f"{CARD} .about", has_text="mine")).to_be_visible(timeout=TRAINING_MS)
    expect(page.locator(f"{CARD}.good")).to_be_visible(timeout=TRAINING_MS)
    visitor.press("#classify-csv")
    path = Path(visitor.save("#classify-download").path())
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [f"{row['评论']},{row['标签']}" for row in rows] == TABLE.splitlines()[1:]
    assert [int(row["line"]) for row in rows] == list(range(2, N_ROWS + 2))
    assert {row["label"] for row in rows} <= {"好", "坏"} and {"p(好)", "p(坏)", "probability"} <= set(rows[0])
    assert sum(row["label"] == row["标签"] for row in rows) >= 0.9 * N_ROWS, "it has learned what these rows say"
    visitor.stage("classify-9-table")


def search_settings(visitor: Visitor) -> None:
    """A search over the example table: its leaderboard, what the best came to, and the run of a trial."""
    page = visitor.page
    visitor.tab("tab_classify")
    mode(visitor, "mode_classify_table")
    visitor.press("#table-example")
    visitor.sees("#table-about", visitor.like("table_about"))
    mode(visitor, "mode_classify_train")
    visitor.unfold("#classify-search")
    visitor.fill("#classifier-search-space", "method=tfidf,lstm\nseed=1")
    visitor.press("#classifier-search-start")
    visitor.sees("#classifier-search-notice", "seed decides how trials are measured")
    visitor.fill("#classifier-search-space", "method=tfidf,lstm")
    visitor.stage("classify-search-1-asked")
    visitor.press("#classifier-search-start")
    expect(page.locator(f"{CARD}.good .board tbody tr")).to_have_count(2, timeout=TRAINING_MS)
    visitor.sees("#classify-card", visitor.word("search_chosen_test"), visitor.word("method_majority"))
    visitor.sees("#classify-card", visitor.word("search_all_tried", n=2))
    expect(page.locator("#classified-rows details").first).to_be_visible()  # of the best
    visitor.stage("classify-search-2-found")
    page.locator("#classify-card button.search-show").first.click()
    expect(page.locator(f"{CARD} .curve").first).to_be_visible()
    visitor.stage("classify-search-3-trial")
