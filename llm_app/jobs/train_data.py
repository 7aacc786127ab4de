"""The files of examples that a training run names, as its spec.json keeps them."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_app.data.mix import DatasetSpec
from llm_app.errors import UserError
from llm_app.jobs.folder import Spec


def dataset_json(dataset: DatasetSpec) -> dict[str, Any]:
    """A data set as spec.json keeps it, with the digest of its file, which must be the same whenever the run goes on.

    Raises: UserError if the file cannot be read.
    """
    path = Path(dataset.path).expanduser().absolute()
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"Cannot read {path.name}: {error.strerror}.", param="data") from error
    return replace(dataset, path=str(path), name=dataset.name or path.name, sha256=digest).to_json()


def datasets_of(spec: Spec) -> list[DatasetSpec]:
    """What `dataset_json` wrote."""
    return [DatasetSpec.from_json(values) for values in spec["datasets"]]


def differing_files(spec: Spec) -> list[str]:
    """Names of data files that are not what they were.

    Raises: UserError if one cannot be read.
    """
    return [values["name"] for values in spec["datasets"] if dataset_json(DatasetSpec.from_json(values)) != values]
