"""Trained classifiers are lent: read once, kept while they are used, few of them, given back where memory is needed."""

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification

from llm_app.classify.config import ClassifierConfig, ZeroShotConfig
from llm_app.classify.folder import BaseModel, ClassifierFile, write_note
from llm_app.classify.table import Columns
from llm_app.classify.types import Item
from llm_app.classify.zero_shot import ZeroShot
from llm_app.config import ServeConfig, Settings
from llm_app.engine.decoding import Decoder
from llm_app.engine.host import Host
from llm_app.errors import UserError
from llm_app.jobs.classify import Source, start
from llm_app.jobs.classify_open import MAX_OPEN, Asked, Classifiers
from llm_app.jobs.classify_public import TABLE, check_training, check_work
from llm_app.jobs.store import RunStore
from llm_app.services import Services
from tests.running import running

LABELS = ("negative", "positive")


@pytest.fixture
def classifiers(settings: Settings) -> Iterator[Classifiers]:
    for name in "abcd":
        folder = settings.classifiers / name
        folder.mkdir(parents=True)
        write_note(folder, ClassifierFile("majority", "single", LABELS, shares=(0.4, 0.6)))
    found = Classifiers(Host(settings), settings)
    yield found
    found.close()


@pytest.fixture
def table(tmp_path: Path) -> Source:
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\n" + "good,positive\nbad,negative\n" * 6, encoding="utf-8")
    return Source(path, Columns("text", truth="label"))


@pytest.fixture(scope="module")
def lora(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head on tiny_llama."""
    base = AutoModelForSequenceClassification.from_pretrained(tiny_llama, num_labels=2, dtype=torch.float32)
    folder = tmp_path_factory.mktemp("lora") / "head"
    get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["q_proj"])).save_pretrained(folder)
    with running(tiny_llama, Settings(folder)) as host:
        note = BaseModel(host.loaded.entry.name, host.loaded.identity.weights)
    write_note(folder, ClassifierFile("lora", "single", LABELS, 32, base=note))
    return folder


def n_engines() -> int:
    gc.collect()
    return sum(isinstance(thing, Decoder) for thing in gc.get_objects())


def test_a_base_that_was_loaded_for_a_lora_head_alone_goes_with_it(lora: Path, settings: Settings) -> None:
    services, before = Services(settings, ServeConfig(), Host(settings)), n_engines()
    with services.classifiers.lent(Asked(str(lora))) as classifier:
        (outcome,) = classifier.predict([Item("hello")])
        services.give_back()
        (again,) = classifier.predict([Item("hello")])  # not while it is used
        services.shutdown(0)
        (at_last,) = classifier.predict([Item("hello")])
        assert n_engines() == before + 1
    kept = weakref.ref(classifier)
    del classifier
    assert outcome == again == at_last and n_engines() == before and kept() is None


def test_a_head_on_the_model_that_is_loaded_does_not_keep_it(
    lora: Path, tiny_llama: Path, settings: Settings
) -> None:
    with running(tiny_llama, settings) as host:
        classifiers = Classifiers(host, settings)
        with classifiers.lent(Asked(str(lora))) as classifier:
            list(classifier.predict([Item("hello")]))
        kept = weakref.ref(classifier)
        del classifier
        assert kept() is None


def test_only_those_asked_for_last_stay_open_and_none_that_is_in_use_is_closed(classifiers: Classifiers) -> None:
    with classifiers.lent(Asked("a")) as first:
        for name in "bcd":
            with classifiers.lent(Asked(name)):
                pass
        with classifiers.lent(Asked("a")) as again:
            assert again is first
    kept = {}
    for name in "dcab":
        with classifiers.lent(Asked(name)) as found:
            kept[name] = weakref.ref(found)
    del found, first, again
    assert [name for name in "dcab" if kept[name]() is not None] == ["a", "b"] and MAX_OPEN == 2


def test_two_who_ask_at_once_get_one_classifier(classifiers: Classifiers) -> None:
    found, both = [], threading.Barrier(2)

    def ask() -> None:
        both.wait()
        with classifiers.lent(Asked("a")) as classifier:
            found.append(classifier)
            both.wait()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is found[1]


def test_a_run_that_waits_in_line_keeps_no_classifier_in_memory(
    classifiers: Classifiers, table: Source, settings: Settings
) -> None:
    run = start(Asked("a"), table, classifiers, settings)
    with classifiers.lent(Asked("a")) as classifier:
        kept = weakref.ref(classifier)
    del classifier
    classifiers.give_back()
    assert kept() is None
    assert sum(1 for _ in run.run()) == 12


def test_a_run_whose_classifier_was_changed_while_it_waited_is_told(
    classifiers: Classifiers, table: Source, settings: Settings
) -> None:
    run = start(Asked("a"), table, classifiers, settings)
    write_note(settings.classifiers / "a", ClassifierFile("majority", "single", LABELS, shares=(0.5, 0.5)))
    (settings.classifiers / "a" / "touched").touch()
    with pytest.raises(UserError, match="differs in: classifier"):
        list(run.run())


def test_a_table_that_changed_under_the_hand_leaves_no_run(
    classifiers: Classifiers, table: Source, settings: Settings
) -> None:
    rows = table.read()
    table.path.write_text("text,label\nother,positive\n", encoding="utf-8")
    with pytest.raises(UserError, match="was changed while it was read"):
        start(Asked("a"), table, classifiers, settings, table=rows)
    assert RunStore.of(settings).ids() == []


def test_a_public_demo_limits_what_a_chat_model_is_asked_and_nothing_else(
    classifiers: Classifiers, table: Source, settings: Settings, tiny_llama: Path
) -> None:
    public = Settings(settings.home, is_public=True)
    with running(tiny_llama, settings) as host, classifiers.lent(Asked("a")) as trained:
        asked = ZeroShot(host, [str(n) for n in range(1_000)], ZeroShotConfig())
        check_work(asked, TABLE // 1_000, public)
        check_work(asked, 12, settings)
        check_work(trained, TABLE, public)
        with pytest.raises(UserError, match="at most 10,000 texts times labels at once, not 12 times 1,000"):
            check_work(asked, 12, public)
        many = Asked(str(tiny_llama), asked.labels)
        with pytest.raises(UserError, match="at most 10,000 texts"):
            start(many, table, Classifiers(host, settings), public)
    assert RunStore.of(settings).ids() == []


@pytest.mark.parametrize(("config", "base", "told"), [
    (ClassifierConfig(), None, "small classifiers only. Choose lstm or tfidf."),
    (ClassifierConfig(method="lstm"), "org/model", "leave out the base"),
    (ClassifierConfig(method="lstm", epochs=11), None, "epochs is at most 10 on a public demo, not 11."),
    (ClassifierConfig(method="lstm", max_length=512), None, "max_length is at most 256 on a public demo, not 512."),
])  # fmt: skip
def test_a_public_demo_trains_small_classifiers_for_a_short_while(
    config: ClassifierConfig, base: str | None, told: str
) -> None:
    check_training(ClassifierConfig(method="lstm"), None)
    with pytest.raises(UserError, match=told):
        check_training(config, base)
