"""Options that do nothing are refused, with a sentence that says why."""

from pathlib import Path
from typing import Any

import pytest

from llm_app.classify.config import ClassifierConfig
from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.labels import threshold_of
from llm_app.classify.table import Columns
from llm_app.classify.types import Kind
from llm_app.config import Settings
from llm_app.data.mix import DatasetSpec
from llm_app.errors import UserError
from llm_app.jobs.classifier import ClassifierData, start_classifier


@pytest.mark.parametrize(("config", "options", "told"), [
    (ClassifierConfig, {"patience": 2, "validation": 0.0}, "goes by rows held back"),
    (ClassifierConfig, {"rank": 8}, "Method encoder makes no use of rank"),
    (ClassifierConfig, {"method": "tfidf", "epochs": 2.0}, "makes no use of epochs"),
    (ClassifierConfig, {"method": "tfidf", "augmentation": "swap"}, "makes no use of augmentation"),
    (ClassifierConfig, {"method": "lstm", "precision": "bf16"}, "computed in fp32"),
    (EntityConfig, {"patience": 2, "validation": 0.0}, "goes by rows held back"),
    (EntityConfig, {"method": "features", "batch_size": 4}, "makes no use of batch_size"),
])
def test_an_option_that_its_method_makes_no_use_of_is_refused(
    config: type[Any], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        config(**options)


@pytest.mark.parametrize(("columns", "options", "told"), [
    (Columns("t", None, "l", "regression"), {"weighs_classes": True}, "a regression has none"),
    (Columns("t", None, "l", separator=","), {}, "several labels a row"),
])
def test_options_that_the_kind_of_labels_makes_no_use_of_are_refused(
    columns: Columns, options: dict[str, Any], told: str, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("t,l\na,1\nb,2\n", encoding="utf-8")
    data = ClassifierData(DatasetSpec(str(tmp_path / "rows.csv")), columns)
    with pytest.raises(UserError, match=told):
        start_classifier(data, ClassifierConfig(method="lstm", **options), settings)


@pytest.mark.parametrize(("given", "kind", "n_labels", "told"), [
    (float("nan"), "single", 2, "from 0 to 1"), (1.5, "multi", 3, "from 0 to 1"), (-0.1, "single", 2, "from 0 to 1"),
    (0.3, "single", 3, "Leave it out"), (0.3, "regression", 1, "Leave it out"),
])
def test_a_threshold_that_means_nothing_is_refused(given: float, kind: Kind, n_labels: int, told: str) -> None:
    with pytest.raises(UserError, match=told):
        threshold_of(given, kind, [str(number) for number in range(n_labels)])


def test_a_threshold_is_a_half_unless_it_is_given() -> None:
    assert threshold_of(None, "single", ["a", "b", "c"]) == 0.5
    assert threshold_of(0.2, "single", ["a", "b"]) == 0.2
