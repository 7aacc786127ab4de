"""The template doctor finds what spoils prompts, and nothing where nothing is wrong."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from eval.tasks.harness import TaskOptions
from eval.types import Answer, Generation, Request, Result, Sample
from llm_app.config import Settings
from llm_app.engine.host import Host
from llm_app.jobs.answers import EngineModel
from llm_app.jobs.doctor import FINDINGS, Diagnosis, examine, score_both_ways
from tests import tiny
from tests.running import running

BOS, END = "<|endoftext|>", "<|im_end|>"
WRITES_BOS = "{{ bos_token }}" + tiny.CHATML
REPLY = Generation(stop=("\n",), max_new_tokens=8)


@dataclass(frozen=True)
class Prompts:
    """A task that is its prompts alone."""

    name: str
    samples: Sequence[Sample]

    def score(self, sample: Sample, answers: Sequence[Answer]) -> Mapping[str, Any]:
        return {}

    def aggregate(self, results: Any, *, n_bootstrap: int) -> Mapping[str, Any]:
        return {}


def asking(*requests: Request) -> dict[str, Prompts]:
    return {"task": Prompts("task", [Sample(i, (request,)) for i, request in enumerate(requests)])}


def choice(text: str, continuation: str) -> Request:
    return Request("loglikelihood", text, continuation)


def make(
    tmp_path: Path, name: str = "tiny", *, template: str | None = tiny.CHATML, bos: str | None = None,
    adds: Sequence[str] = (),
) -> Path:
    """A tiny model; `bos` is its first token, and its tokenizer adds `adds`: "first", "last" or both."""
    folder = tiny.make_model(tmp_path / name, template=template)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | ({"bos_token": bos} if bos else {})))
    data = json.loads((folder / "tokenizer.json").read_text())
    ids = {token["content"]: token["id"] for token in data["added_tokens"]}

    def special(text: str) -> dict[str, Any]:
        return {"SpecialToken": {"id": text, "type_id": 0}}

    if adds:
        single = [
            *([special(BOS)] if "first" in adds else []), {"Sequence": {"id": "A", "type_id": 0}},
            *([special(END)] if "last" in adds else []),
        ]
        data["post_processor"] = {
            "type": "TemplateProcessing", "single": single, "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {text: {"id": text, "ids": [ids[text]], "tokens": [text]} for text in (BOS, END)},
        }
        (folder / "tokenizer.json").write_text(json.dumps(data))
    return folder


@contextmanager
def loaded(folder: Path, tmp_path: Path) -> Iterator[tuple[Host, EngineModel]]:
    with running(folder, Settings(home=tmp_path / "home")) as host:
        yield host, EngineModel(host)


def diagnose(folder: Path, tmp_path: Path, *requests: Request, chat: bool = False) -> Diagnosis:
    with loaded(folder, tmp_path) as (host, model):
        return examine(model, host.loaded, asking(*requests), uses_chat_template=chat)


def names_of(diagnosis: Diagnosis) -> set[str]:
    return {finding.name for finding in diagnosis.findings}


def test_a_base_model_without_template_asked_in_plain_words_is_healthy(tmp_path: Path) -> None:
    folder = make(tmp_path, template=None)
    found = diagnose(folder, tmp_path, choice("the lazy dog", " and then"), Request("generate", "a:", "", REPLY))
    assert found.findings == ()


def test_the_first_prompt_is_shown_as_it_is_sent_text_and_tokens(tmp_path: Path) -> None:
    folder = make(tmp_path, template=None)
    found = diagnose(folder, tmp_path, choice("the lazy dog", " and then"), choice("other", " x"))
    (prompt,) = found.prompts
    assert (prompt.task, prompt.text, prompt.continuation) == ("task", "the lazy dog", " and then")
    # Oracle: the tokenizer by itself.
    tokenizer = tiny.make_tokenizer()
    assert [token for token, _ in prompt.tokens] == tokenizer.encode("the lazy dog")
    assert "".join(text for _, text in prompt.tokens) == "the lazy dog"
    assert [token for token, _ in prompt.scored_tokens] == tokenizer.encode(" and then")


def test_an_instruct_model_without_its_template_is_told_with_the_remedy(tmp_path: Path) -> None:
    found = diagnose(make(tmp_path), tmp_path, choice("the", " dog"))
    (finding,) = found.findings
    assert (finding.name, finding.severity, finding.tasks) == ("instruct-without-template", "warning", ("task",))
    assert "--chat-template" in finding.text[0] and "--chat-template" in finding.text[1]


def test_running_text_is_asked_without_a_template_by_nature(tmp_path: Path) -> None:
    assert diagnose(make(tmp_path), tmp_path, Request("rolling", "the lazy dog ")).findings == ()


@pytest.mark.parametrize("name", ["Tiny-Base", "tiny-pt", "gemma-3-pt-1b"])
def test_a_base_model_asked_through_a_template_is_told_and_one_that_is_not_is_well(name: str, tmp_path: Path) -> None:
    folder = make(tmp_path, name)
    assert names_of(diagnose(folder, tmp_path, choice("the", " dog"), chat=True)) == {"base-with-template"}
    assert names_of(diagnose(folder, tmp_path, choice("the", " dog"))) == set()


def test_names_that_merely_contain_base_are_not_base_models(tmp_path: Path) -> None:
    folder = make(tmp_path, "database-adapter")
    assert names_of(diagnose(folder, tmp_path, choice("the", " dog"), chat=True)) == set()


def test_a_doubled_first_token_is_found_where_a_text_holds_it_twice(tmp_path: Path) -> None:
    folder = make(tmp_path, template=None, bos=BOS, adds=["first"])
    assert names_of(diagnose(folder, tmp_path, choice(f"{BOS}{BOS}the", " dog"))) == {"doubled-first-token"}


def test_a_tokenizer_that_adds_the_first_token_after_the_template_wrote_it_is_kept_from_doubling_it(
    tmp_path: Path,
) -> None:
    folder = make(tmp_path, template=WRITES_BOS, bos=BOS, adds=["first"])
    with loaded(folder, tmp_path) as (host, model):
        text = model.render([{"role": "user", "content": "the"}])
        found = examine(model, host.loaded, asking(choice(text, "dog")), uses_chat_template=True)
        ids = [token for token, _ in found.prompts[0].tokens]
        assert ids.count(host.loaded.tokenizer.bos_token_id) == 1
    assert names_of(found) == set()


def test_a_missing_first_token_is_found_where_tokenizer_or_template_should_give_it(tmp_path: Path) -> None:
    folder = make(tmp_path, template=WRITES_BOS, bos=BOS)
    # The prompt was put together by hand, in turns but without the token that the template begins with.
    found = diagnose(folder, tmp_path, choice("<|im_start|>user\nthe", " dog"), chat=True)
    assert names_of(found) == {"missing-first-token"}


def test_a_tokenizer_that_ends_prompts_is_found(tmp_path: Path) -> None:
    folder = make(tmp_path, template=None, adds=["last"])
    assert names_of(diagnose(folder, tmp_path, Request("generate", "the", "", REPLY))) == {"end-in-prompt"}


def test_an_end_token_written_twice_in_a_row_is_found(tmp_path: Path) -> None:
    folder = make(tmp_path, template=None)
    assert names_of(diagnose(folder, tmp_path, choice(f"a{END}{END}the", " dog"))) == {"doubled-end-token"}


def test_a_template_whose_turns_end_without_a_stop_token_is_found(tmp_path: Path) -> None:
    endless = tiny.CHATML.replace(END, BOS)
    request = Request("generate", "the", "", REPLY)
    assert names_of(diagnose(make(tmp_path, template=endless), tmp_path, request, chat=True)) == {"replies-do-not-end"}
    assert names_of(diagnose(make(tmp_path, "other"), tmp_path, request, chat=True)) == set()


def test_a_space_at_the_end_spoils_replies_and_is_moved_where_answers_are_scored(tmp_path: Path) -> None:
    folder = make(tmp_path, template=None)
    assert names_of(diagnose(folder, tmp_path, Request("generate", "the ", "", REPLY))) == {"trailing-space"}
    found = diagnose(folder, tmp_path, choice("the ", "dog"))
    assert [(finding.name, finding.severity) for finding in found.findings] == [("moved-space", "note")]


def test_an_answer_that_merges_with_the_prompt_is_found(tmp_path: Path) -> None:
    folder = make(tmp_path, template=None)
    tokenizer = tiny.make_tokenizer()
    assert tokenizer.encode("over")[:2] != tokenizer.encode("ov")
    assert names_of(diagnose(folder, tmp_path, choice("ov", "er"))) == {"merged-tokens"}


def test_prompts_that_lose_their_beginning_are_found(tmp_path: Path) -> None:
    folder = make(tmp_path, template=None)
    long = "the dog " * 400 + "and"
    found = diagnose(folder, tmp_path, choice(long, " cat"))
    assert names_of(found) == {"cut-prompt"}
    assert len(found.prompts[0].tokens) + len(found.prompts[0].scored_tokens) == 512 + 1
    assert names_of(diagnose(folder, tmp_path, Request("generate", long, "", REPLY))) == {"cut-prompt"}


def test_every_finding_speaks_both_languages() -> None:
    for severity, (english, chinese) in FINDINGS.values():
        assert severity in ("warning", "note") and english.endswith(".") and chinese.endswith("。")


def test_a_few_samples_are_scored_both_ways_and_running_text_is_not(hub_data: Path, tmp_path: Path) -> None:
    folder = tiny.make_model(tmp_path / "tiny", n_context=1024)
    with running(folder, Settings(home=tmp_path / "home", data=hub_data)) as host:
        options = TaskOptions(n_shots=0, limit=5)
        made = score_both_ways(host, ["arc_easy", "wikitext"], options)
        assert [(both.task, both.metric, both.n_samples) for both in made] == [("arc_easy", "acc", 5)]
        want = {is_chat: direct(host, hub_data, is_chat) for is_chat in (False, True)}
    assert (made[0].plain, made[0].templated) == (want[False], want[True])


def direct(host: Host, data: Path, is_chat: bool) -> float:
    """The share of right answers, counted from the results themselves."""
    from eval.runner import evaluate
    from eval.tasks.harness import load_tasks

    model = EngineModel(host)
    options = TaskOptions(n_shots=0, limit=5, uses_chat_template=is_chat)
    task = load_tasks(["arc_easy"], options, data=data, model=model).tasks["arc_easy"]
    results: list[Result] = list(evaluate(task, model))
    return sum(result.scores["acc,none"] for result in results) / len(results)


def test_a_model_without_a_template_has_only_one_way(tmp_path: Path) -> None:
    with loaded(make(tmp_path, template=None), tmp_path) as (host, _):
        assert score_both_ways(host, ["arc_easy"], TaskOptions(limit=1)) == ()
