"""A person's own table becomes a task: read, guessed, tried out, kept. Handlers take and give values; no server."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.requests import Request as StarletteRequest

from eval.tasks.own import own_task
from eval.tasks.own_rows import Row
from eval.types import EvaluationError
from llm_app.config import ServeConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.services import Services
from llm_app.web.benchmark import own_data_views as views
from llm_app.web.benchmark.own_data import build_own_data
from llm_app.web.benchmark.own_data_guess import choice_columns, guess_columns, guess_kind, guess_language
from llm_app.web.benchmark.own_data_handlers import OwnDataHandlers
from llm_app.web.benchmark.own_data_shelf import DRAFT, PUBLIC, Draft, Limits, TaskShelf
from llm_app.web.benchmark.own_data_trial import attempt, checked

CSV = "country,capital\nFrance,Paris\nJapan,Tokyo\nPeru,\n"


def rows(*cells: dict[str, Any]) -> list[Row]:
    return [Row(n, one) for n, one in enumerate(cells, start=2)]


@pytest.mark.parametrize(("cells", "kind"), [
    ({"question": "2+2?", "answer": "4"}, "exact_match"),
    ({"question": "2+2?", "choices": ["3", "4"], "answer": "B"}, "multiple_choice"),
    ({"question": "2+2?", "A": "3", "B": "4", "C": "5", "answer": "B"}, "multiple_choice"),
    ({"q": "2+2?", "choice_1": "3", "choice_2": "4", "gold": "2"}, "multiple_choice"),
    ({"text": "good", "label": "pos"}, "classification"),
    ({"评论": "很好", "情感": "正面"}, "classification"),
    ({"source": "Hallo", "translation": "hello"}, "generation"),
    ({"text": "a long text"}, "perplexity"),
])  # fmt: skip
def test_the_kind_is_guessed_from_the_columns(cells: dict[str, Any], kind: str) -> None:
    assert guess_kind(list(cells), rows(cells)) == kind


def test_columns_are_guessed_by_name_then_by_place() -> None:
    table = rows({"id": "7", "Sentence": "it was good", "y": "pos"})
    assert guess_columns("classification", ["id", "Sentence", "y"], table) == {"text": "Sentence", "label": "y"}
    assert guess_columns("exact_match", ["country", "capital"], rows({"country": "France", "capital": "Paris"})) == {
        "question": "country", "answer": "capital",
    }  # fmt: skip


def test_letters_that_do_not_follow_one_another_are_no_choices() -> None:
    assert choice_columns(["A", "B", "C"], []) == ["A", "B", "C"]
    assert choice_columns(["x", "y"], []) == [] and choice_columns(["A", "C"], []) == []


def test_chinese_rows_get_chinese_prompts() -> None:
    assert guess_language(rows({"text": "这部电影很好看"})) == "zh" and guess_language(rows({"text": "good"})) == "en"


@pytest.fixture
def shelf(tmp_path: Path) -> TaskShelf:
    return TaskShelf(tmp_path / "tasks", Limits(2, 2_000))


def uploaded(tmp_path: Path, text: str | bytes = CSV, name: str = "capitals.csv") -> Path:
    path = tmp_path / f"upload-{name}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_draft_tells_columns_rows_and_lines(shelf: TaskShelf, tmp_path: Path) -> None:
    draft = shelf.draft("capitals.csv", uploaded(tmp_path))
    assert (draft.columns, draft.n_rows, draft.head[0].line) == (("country", "capital"), 3, 2)


@pytest.mark.parametrize(("name", "data", "said"), [
    ("a.csv", b"a,b\n1,2,3\n", "line 2: 3 cells"), ("a.csv", "a\nü\n".encode("latin-1"), "line 2: this is not UTF-8"),
    ("a.jsonl", b'\n{"a": \n', "line 2: cut off"), ("a.csv", b"a,b\n", "has no rows"),
    ("a.xlsx", b"PK", "data files end in"), ("a.csv", b"a\n" + b"x" * 3_000, "is the limit"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_told_with_its_line_and_leaves_nothing(
    shelf: TaskShelf, tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    with pytest.raises((EvaluationError, UserError), match=said):
        shelf.draft(name, uploaded(tmp_path, data, name))
    assert not shelf.root.exists() or list(shelf.root.iterdir()) == []


def raw(**changed: Any) -> dict[str, Any]:
    return {
        "kind": "exact_match", "columns": {"question": "country", "answer": "capital"}, "answers": "auto",
        "prompt": "Capital of {{question}}?", "name": "capitals", "language": "en", "skips_bad_rows": False,
    } | changed  # fmt: skip


def test_a_trial_shows_the_first_prompt_and_lists_each_unusable_row(shelf: TaskShelf, tmp_path: Path) -> None:
    draft = shelf.draft("capitals.csv", uploaded(tmp_path))
    tried = attempt(draft, checked(draft, raw()), None, uses_template=False)
    assert tried.requests[0].text == "Capital of France?" and tried.right == ("Paris",)
    assert (tried.n_usable, [str(row) for row in tried.dropped]) == (2, ["line 4: answer (column capital) is empty"])
    shown = views.trial(tried, skips=False)
    assert "第 4 行：" in shown and "answer (column capital) 为空" in shown


def test_the_kept_task_asks_what_the_trial_showed(shelf: TaskShelf, tmp_path: Path) -> None:
    draft = shelf.draft("capitals.csv", uploaded(tmp_path))
    tried = attempt(draft, checked(draft, raw(skips_bad_rows=True)), None, uses_template=False)
    path = shelf.keep(draft, "capitals", tried.text)
    task = own_task(path)
    assert [doc["prompt"] for doc in task.test_docs()] == ["Capital of France?", "Capital of Japan?"]
    assert sorted(os.listdir(path.parent)) == ["capitals.csv", "capitals.yaml"]


@pytest.mark.parametrize("changed", [
    {"kind": "shell"}, {"kind": ["exact_match"]}, {"columns": {"question": "../x", "answer": "capital"}},
    {"columns": {"question": None, "answer": "capital"}}, {"columns": {"question": {"a": 1}, "answer": "capital"}},
    {"answers": 7}, {"prompt": "x" * 30_000}, {"name": None},
])  # fmt: skip
def test_W6_values_no_form_would_send_are_refused(shelf: TaskShelf, tmp_path: Path, changed: dict[str, Any]) -> None:
    draft = shelf.draft("capitals.csv", uploaded(tmp_path))
    with pytest.raises(UserError):
        checked(draft, raw(**changed))


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", "", "x" * 65, "né"])
def test_B1_a_name_leads_nowhere_else(shelf: TaskShelf, tmp_path: Path, name: str) -> None:
    draft = shelf.draft("capitals.csv", uploaded(tmp_path))
    with pytest.raises(UserError, match="1 to 64 letters"):
        shelf.keep(draft, name, "name: x")
    assert {path.name for path in tmp_path.rglob("*.yaml")} == set()


def test_a_name_is_taken_once_and_the_number_of_tasks_is_limited(shelf: TaskShelf, tmp_path: Path) -> None:
    text = "name: NAME\nkind: exact_match\ndata: capitals.csv\n"

    def keep(name: str) -> Path:
        return shelf.keep(shelf.draft("capitals.csv", uploaded(tmp_path)), name, text.replace("NAME", name))

    keep("one")
    with pytest.raises(UserError, match="There is a task one already"):
        keep("one")
    keep("two")
    with pytest.raises(UserError, match="which is the limit"):
        keep("three")
    assert [kept.name for kept in shelf.kept()] == ["one", "two"]


def test_a_deleted_task_can_be_brought_back(shelf: TaskShelf, tmp_path: Path) -> None:
    draft = shelf.draft("capitals.csv", uploaded(tmp_path))
    shelf.keep(draft, "one", "name: one\nkind: exact_match\ndata: capitals.csv\n")
    shelf.delete("one")
    assert shelf.kept() == []
    assert shelf.restore() == "one" and [kept.name for kept in shelf.kept()] == ["one"]


def test_left_drafts_are_swept(shelf: TaskShelf, tmp_path: Path) -> None:
    old = shelf.draft("capitals.csv", uploaded(tmp_path)).folder
    os.utime(old, (1, 1))
    shelf.draft("capitals.csv", uploaded(tmp_path))
    assert not old.exists() and len(list(shelf.root.glob(f"{DRAFT}*"))) == 1


def test_W9_two_visitors_of_a_public_page_never_reach_each_others_tasks(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, is_public=True)
    one, two = (TaskShelf.of(settings, visitor) for visitor in ("a" * 43, "b" * 43))
    one.keep(one.draft("c.csv", uploaded(tmp_path)), "mine", "name: mine\nkind: exact_match\ndata: c.csv\n")
    assert one.root != two.root and two.kept() == [] and one._limits == PUBLIC
    with pytest.raises(UserError, match="no task mine"):
        two.find("mine")


def test_D2_cells_of_a_table_are_shown_as_text(shelf: TaskShelf, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>{{x}}"
    draft = shelf.draft("evil.csv", uploaded(tmp_path, f"country,capital\n{evil},{evil}\n", "evil.csv"))
    tried = attempt(draft, checked(draft, raw()), None, uses_template=False)
    for html in (views.head(draft), views.trial(tried, skips=False), views.download_link("a", evil)):
        assert "<script>" not in html and "{{" not in html


class Part:
    """The part as the page has it: its handlers, and what they said last."""

    def __init__(self, settings: Settings) -> None:
        services = Services(settings, ServeConfig(), Host(settings))
        with gr.Blocks() as page:
            self.task = build_own_data(page, services)
        bound = (getattr(fn.fn, "__self__", None) for fn in page.fns.values())
        self.handlers = next(owner for owner in bound if isinstance(owner, OwnDataHandlers))

    def said(self, update: dict[Any, Any], elem_id: str) -> Any:
        return next(value for part, value in update.items() if getattr(part, "elem_id", None) == elem_id)


def form(*, skips: bool = False, name: str = "capitals", kind: str = "exact_match") -> list[Any]:
    """The values of the form in its order: kind, a column for each role, answers, prompt, name, language, skip."""
    columns = [None, None, "country", [], None, "capital", None]
    return [kind, *columns, "auto", "Capital of {{question}}?", name, "en", skips]


def begun(part: Part, tmp_path: Path) -> Any:
    update = part.handlers.upload(gr.Request(), str(uploaded(tmp_path)))
    return next(value for state, value in update.items() if type(value).__name__ == "Draft"), update


def test_an_upload_fills_the_form_and_gradio_keeps_no_copy(settings: Settings, tmp_path: Path) -> None:
    part = Part(settings)
    _, update = begun(part, tmp_path)
    assert part.said(update, "own-kind") == "exact_match"
    assert part.said(update, "own-question")["value"] == "country"
    assert "Line 4:" in part.said(update, "own-trial")
    assert "answer (column capital) is empty" in part.said(update, "own-trial")
    assert not (tmp_path / "upload-capitals.csv").exists()


def test_a_file_of_which_no_row_can_be_used_says_of_each_why_and_is_not_kept(
    settings: Settings, tmp_path: Path
) -> None:
    part = Part(settings)
    file = uploaded(tmp_path, "question,answer\nWhat?,\n,no question\n", "holes.csv")
    update = part.handlers.upload(gr.Request(), str(file))
    shown = part.said(update, "own-trial")
    assert "None of the 2 rows can be used" in shown and "Line 2:" in shown and "answer is empty" in shown
    assert "Line 3:" in shown and "question is empty" in shown
    draft = next(value for value in update.values() if isinstance(value, Draft))
    own = {"country": "question", "capital": "answer"}
    values = [own.get(value, value) if isinstance(value, str) else value for value in form(skips=True)]
    kept = part.handlers.keep(gr.Request(), draft, *values)
    assert "None of the 2 rows can be used" in part.said(kept, "own-notice")


def test_bad_rows_are_refused_until_they_are_left_out_on_purpose(settings: Settings, tmp_path: Path) -> None:
    part = Part(settings)
    draft, _ = begun(part, tmp_path)
    refused = part.handlers.keep(gr.Request(), draft, *form())
    assert "1 of 3 rows cannot be used" in part.said(refused, "own-notice")
    kept = part.handlers.keep(gr.Request(), draft, *form(skips=True))
    path = Path(kept[part.task][0])
    assert path == settings.home / "tasks" / "capitals" / "capitals.yaml" and path.is_file()


def test_a_task_that_is_used_again_is_chosen_again(settings: Settings, tmp_path: Path) -> None:
    part = Part(settings)
    draft, _ = begun(part, tmp_path)
    kept = part.handlers.keep(gr.Request(), draft, *form(skips=True))[part.task]
    again = part.handlers.use(gr.Request(), "capitals")[part.task]
    assert kept[0] == again[0] and kept != again, "a state tells of a change only"


def test_a_look_at_a_draft_that_was_kept_meanwhile_says_nothing(settings: Settings, tmp_path: Path) -> None:
    part = Part(settings)
    draft, _ = begun(part, tmp_path)
    (draft.folder / ".check-0.yaml").write_text("tried out at the same time")
    kept = part.handlers.keep(gr.Request(), draft, *form(skips=True))
    assert [path.name for path in Path(kept[part.task][0]).parent.glob(".*")] == []
    for late in (draft, None):
        update = part.handlers.change(late, *form(skips=True))
        assert list(update.values()) == [gr.skip()]


def test_several_trials_of_one_draft_do_not_disturb_each_other(shelf: TaskShelf, tmp_path: Path) -> None:
    draft = shelf.draft("capitals.csv", uploaded(tmp_path))
    asked = checked(draft, raw())
    with ThreadPoolExecutor(4) as pool:
        tried = list(pool.map(lambda _: attempt(draft, asked, None, uses_template=False), range(12)))
    assert {trial.n_usable for trial in tried} == {2}
    assert [path.name for path in draft.folder.iterdir()] == ["capitals.csv"]


def test_the_command_of_a_kept_task_is_one_argument_for_a_shell() -> None:
    assert "--tasks &#x27;/my data/a.yaml&#x27;" in views.command("/my data/a.yaml")


def test_the_name_of_a_known_benchmark_is_refused(settings: Settings, tmp_path: Path) -> None:
    part = Part(settings)
    draft, _ = begun(part, tmp_path)
    refused = part.handlers.keep(gr.Request(), draft, *form(skips=True, name="arc_easy"))
    assert "There is a benchmark called arc_easy already" in part.said(refused, "own-notice")


def test_a_public_page_without_cookie_keeps_nothing(tmp_path: Path) -> None:
    part = Part(Settings(home=tmp_path / "home", is_public=True))
    scope = {"type": "http", "headers": [], "method": "POST", "path": "/"}
    update = part.handlers.upload(gr.Request(request=StarletteRequest(scope)), str(uploaded(tmp_path)))
    assert 'class="notice error"' in part.said(update, "own-notice")
    assert not (tmp_path / "home" / "tasks").exists()
