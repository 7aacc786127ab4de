"""A LoRA classification head on the loaded base against PEFT's own model for sequence classification."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from peft import LoraConfig, PeftModelForSequenceClassification, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from llm_app.classify import lora_head
from llm_app.classify.folder import BaseModel, ClassifierFile, write_note
from llm_app.classify.lora_head import LoraClassifier, open_lora
from llm_app.classify.types import Item, Prediction, Unclassified
from llm_app.config import ModelConfig, Settings
from llm_app.engine.host import Host
from llm_app.engine.turn import Turn
from llm_app.errors import ModelRejected
from llm_app.jobs.folder import RunFolder
from llm_app.jobs.glue import further_scores, glue_tasks

LABELS = ("negative", "neutral", "positive")
TEXTS = ["the quick brown fox", "hello", "", "what is the answer to this question", "lazy dog " * 9]


@pytest.fixture(scope="module")
def host(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(Settings(home=tmp_path_factory.mktemp("home")))
    for _ in host.load(ModelConfig(str(tiny_llama), precision="fp32")):
        pass
    yield host
    host.unload()


@pytest.fixture(scope="module")
def tuned(tiny_llama: Path) -> PeftModelForSequenceClassification:
    """The oracle: PEFT on transformers' LlamaForSequenceClassification, with matrices that change something."""
    base = AutoModelForSequenceClassification.from_pretrained(tiny_llama, num_labels=3, dtype=torch.float32)
    config = LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"])
    torch.manual_seed(5)
    model = get_peft_model(base, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "score" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    assert isinstance(model, PeftModelForSequenceClassification)
    return model.eval()


@pytest.fixture(scope="module")
def folder(tuned: PeftModelForSequenceClassification, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora") / "tuned"
    tuned.save_pretrained(folder, safe_serialization=True)
    base = BaseModel(host.loaded.entry.name, host.loaded.identity.weights)
    write_note(folder, ClassifierFile("lora", "single", LABELS, 32, base=base))
    return folder


def opened(folder: Path, host: Host, *, is_strict: bool = False) -> LoraClassifier:
    base = BaseModel(host.loaded.entry.name, host.loaded.identity.weights)
    return open_lora(folder, ClassifierFile("lora", "single", LABELS, 32, base=base), host, is_strict=is_strict)


def test_scores_equal_those_of_peft(
    tuned: PeftModelForSequenceClassification, folder: Path, host: Host, tiny_llama: Path
):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    found = sorted(opened(folder, host).predict([Item(text) for text in TEXTS]), key=lambda outcome: outcome.index)
    for text, outcome in zip(TEXTS, found, strict=True):
        ids = tokenizer(text)["input_ids"][:32] or [tokenizer.eos_token_id]
        with torch.inference_mode():
            expected = tuned(input_ids=torch.tensor([ids])).logits[0].softmax(-1).tolist()
        assert isinstance(outcome, Prediction)
        assert outcome.scores == pytest.approx(expected, abs=1e-5)


def test_the_base_answers_as_before_and_no_menu_shows_the_head(folder: Path, host: Host):
    ids = torch.tensor([[5, 6, 7]])
    with host.turn.held(), torch.inference_mode():
        before = host.loaded.model(ids).logits
    list(opened(folder, host).predict([Item("hello")]))
    with host.turn.held(), torch.inference_mode():
        host.loaded.adapters.use(None)
        assert torch.equal(host.loaded.model(ids).logits, before)
    assert host.loaded.adapters.offered == ()


def test_a_model_that_was_loaded_for_glues_other_rows_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path / "hub" / "nyu-mll" / "glue" / "mnli"
    place.mkdir(parents=True)
    rows = [{"premise": "the quick brown fox", "hypothesis": label, "label": label} for label in LABELS]
    pq.write_table(pa.Table.from_pylist(rows), place / "validation_mismatched.parquet")
    run = RunFolder.create(tmp_path / "runs", {"config": {"method": "lora"}})
    shutil.copytree(folder, run.path / "classifier")
    made: list[Host] = []

    class Watched(Host):
        def __init__(self, settings: Settings, turn: Turn | None = None) -> None:
            super().__init__(settings, turn=turn)
            made.append(self)

    monkeypatch.setattr(lora_head, "Host", Watched)
    (task,) = glue_tasks(["mnli"])
    scores = further_scores(task, run, Settings(home=tmp_path / "home", data=tmp_path / "hub"))
    assert next(scores).n == len(rows)
    assert [host.status().state for host in made] == ["empty"]


def test_a_text_that_is_too_long_is_cut_and_told_or_refused(folder: Path, host: Host, tiny_llama: Path):
    text = "what is the answer to this question? " * 30
    n_tokens = len(AutoTokenizer.from_pretrained(tiny_llama)(text)["input_ids"])
    (cut,) = opened(folder, host).predict([Item(text)])
    assert isinstance(cut, Prediction) and cut.n_cut == n_tokens - 32
    (refused,) = opened(folder, host, is_strict=True).predict([Item(text)])
    assert isinstance(refused, Unclassified)


def test_a_head_of_another_base_is_refused(folder: Path, host: Host):
    file = ClassifierFile("lora", "single", LABELS, 32, base=BaseModel(host.loaded.entry.name, "00" * 32))
    with pytest.raises(ModelRejected, match="has other weights"):
        open_lora(folder, file, host)


def test_a_head_for_other_labels_than_the_note_names_is_refused(folder: Path, host: Host):
    base = BaseModel(host.loaded.entry.name, host.loaded.identity.weights)
    with pytest.raises(ModelRejected, match=r"its head has shape \(3, 64\)"):
        open_lora(folder, ClassifierFile("lora", "single", ("a", "b"), 32, base=base), host)


def test_a_chat_does_not_take_a_classification_head_for_an_adapter(folder: Path, host: Host):
    with pytest.raises(ModelRejected, match="SEQ_CLS"):
        host.loaded.adapters.attach(folder, name="wrong")
