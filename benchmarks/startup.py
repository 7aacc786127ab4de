"""From the start of the server to the first token of the first chat, and what each component's import takes.

    python -m benchmarks.startup [--rounds 3] [--model embedded] [--precision auto] [--imports 15]

Each round is a new server in a process of its own. Seconds since it was started: it says where it is, the model is
loaded, the first token of a chat arrives that was sent at that moment. One start before the first counts for nothing:
what it reads from the disk is then in memory, and what Python compiles is kept. `rss_mb` is the server's afterwards.

Then each component in a process of its own: seconds of its import, and the memory of the process afterwards, less what
Python alone takes. Components share what they import, so the lines do not add up. Last, of all that the server imports,
the packages that take the most time themselves (python -X importtime, which slows everything down a little).
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

from benchmarks.server import READY, await_line, serving, usual_environment
from llm_app.config import quiet_environment

ROOT = Path(__file__).parents[1]
SERVER_IMPORTS = "from llm_app import cli, serve, http_server, services, web, api; from llm_app.engine import host"
# Name in the table -> what is imported.
COMPONENTS = {
    "python": "pass",
    "torch": "import torch",
    "transformers": "from transformers import AutoModelForCausalLM, AutoTokenizer",
    "peft": "import peft",
    "gradio": "import gradio",
    "fastapi": "import fastapi",
    "scikit-learn": "import sklearn.linear_model",
    "datasets": "import datasets",
    "lm_eval": "import lm_eval",
    "trl": "from trl import SFTTrainer",
    "llm_app command line": "from llm_app import cli",
    "llm_app engine": "from llm_app.engine import host",
    "llm_app api": "from llm_app import api",
    "llm_app page": "from llm_app import web",
    "all that the server imports": SERVER_IMPORTS,
}
_TIMED = """
import resource, time
started = time.perf_counter()
{code}
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
_IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def main() -> None:
    """Measure and print one JSON line a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--imports", type=int, default=15, help="packages in the last table")
    args = parser.parse_args()
    quiet_environment()  # components are imported as the program does
    print(f"# {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    starts = [start(args.model, args.precision) for _ in range(args.rounds + 1)][1:]
    if starts:
        told = {key: round(statistics.median(each[key] for each in starts), 2) for key in starts[0]}
        rounds = [round(each["first_token_s"], 2) for each in starts]
        print(json.dumps({"case": "first chat", **told, "rounds": rounds}), flush=True)
    nothing = component(COMPONENTS["python"], args.rounds)
    for name, code in COMPONENTS.items():
        seconds, rss_mb = component(code, args.rounds)
        line = {"import": name, "seconds": round(seconds - nothing[0], 2), "rss_mb": round(rss_mb - nothing[1])}
        print(json.dumps(line), flush=True)
    for package, seconds, n_modules in packages(SERVER_IMPORTS)[: args.imports]:
        print(json.dumps({"package": package, "own_seconds": round(seconds, 3), "modules": n_modules}), flush=True)


def start(model: str, precision: str) -> dict[str, float]:
    """One start and one chat."""
    started = time.perf_counter()
    with serving(model, precision=precision) as (server, url):
        up = time.perf_counter() - started
        await_line(server, READY)
        ready = time.perf_counter() - started
        first = first_token(url) - started
        rss = psutil.Process(server.pid).memory_info().rss
    return {"up_s": up, "ready_s": ready, "first_token_s": first, "rss_mb": rss / 2**20}


def first_token(url: str) -> float:
    """The moment when the first piece of a reply's text arrives.

    Raises: RuntimeError if none does.
    """
    body = {"model": "embedded", "messages": [{"role": "user", "content": "Say hello."}], "stream": True}
    asked = Request(
        f"{url}/v1/chat/completions", json.dumps({**body, "max_tokens": 8}).encode(),
        {"Content-Type": "application/json"},
    )  # fmt: skip
    moment = None
    with urlopen(asked) as answer:
        for line in answer:
            is_piece = line.startswith(b"data: {")
            if is_piece and moment is None and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                moment = time.perf_counter()
    if moment is None:
        raise RuntimeError("the reply had no text")
    return moment


def component(code: str, n_rounds: int) -> tuple[float, float]:
    """Median seconds of this code and megabytes of a process that has run it, after one run that does not count."""
    runs = []
    for _ in range(n_rounds + 1):
        done = subprocess.run(
            [sys.executable, "-c", _TIMED.format(code=code)],
            cwd=ROOT, env=usual_environment(), stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        runs.append([float(figure) for figure in done.stdout.split()[-2:]])
    seconds, megabytes = zip(*runs[1:], strict=True)
    return statistics.median(seconds), statistics.median(megabytes)


def packages(code: str) -> list[tuple[str, float, int]]:
    """Each package that this code imports: seconds that its own modules take, and how many they are; most first."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=ROOT, env=usual_environment(), stderr=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    own, n_modules = Counter[str](), Counter[str]()
    for microseconds, module in _IMPORT_LINE.findall(done.stderr):
        own[package := module.partition(".")[0]] += int(microseconds)
        n_modules[package] += 1
    return [(package, spent / 1e6, n_modules[package]) for package, spent in own.most_common()]


if __name__ == "__main__":
    main()
