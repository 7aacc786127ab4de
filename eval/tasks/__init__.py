"""Where samples come from. Data sets are fetched from the hub only by a person who sets HF_DATASETS_OFFLINE=0."""

import logging
import os

# Before the harness imports `datasets` and `evaluate`, which read these once.
for _name in ("HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
    os.environ.setdefault(_name, "1")
# It warns of every default that a task relies on.
logging.getLogger("lm_eval").setLevel(logging.ERROR)
