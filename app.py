"""Starts the web server, with the flags of `python -m llm_app serve`. A Hugging Face Space runs this file as it is."""

import os
import sys

from llm_app.cli import main

if __name__ == "__main__":
    # The proxy of a Space connects from outside the container.
    reach = ["--host", "0.0.0.0"] if "SPACE_ID" in os.environ else []
    sys.exit(main(["serve", *reach, *sys.argv[1:]]))
