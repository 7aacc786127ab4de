"""How soon the page can be used: a real server in a process of its own, a real Chromium with an empty cache.

    python -m benchmarks.page [--runs 3] [--model embedded]

A page can be used when its message box takes text and Send has been answered by the server: a blank message is sent,
and the refusal is awaited. Four visits a run: at once (the server has just said where it is, the model still loads),
then with the model loaded a new browser, the same browser again, and a new one on a processor four times as slow.
Seconds count from the begin of the visit; `browser_s` and `server_s` are processor time, of the page's own thread and
of the whole server, which in the first visit loads a model besides. Chromium is this machine's, or $CHROMIUM.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import psutil
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from benchmarks.server import READY, await_line, serving

SLOWER = 4
PATIENCE_SECONDS = 300
BOX, SEND, ANSWER = "#message textarea", "#send", "#chat-notice .notice"

# Moments, in milliseconds since the visit began: when the page stood, and when Send was answered.
WATCH = """
performance.setResourceTimingBufferSize(2000);
const mark = (name, selector) => new MutationObserver((_, observer) => {
  if (document.querySelector(selector)) { performance.mark(name); observer.disconnect(); }
}).observe(document, { childList: true, subtree: true });
""" + f"mark('stands', {json.dumps(BOX)}); mark('answered', {json.dumps(ANSWER)});"

TOLD = """() => {
  const [document] = performance.getEntriesByType("navigation");
  const files = performance.getEntriesByType("resource").filter((entry) => !entry.name.includes("gradio_api"));
  const seconds = (milliseconds) => milliseconds / 1000;
  const at = (name) => seconds(performance.getEntriesByName(name)[0].startTime);
  return {
    usable_s: at("answered"), document_s: seconds(document.responseEnd),
    dom_s: seconds(document.domContentLoadedEventEnd), stands_s: at("stands"),
    files: files.length,
    wire_kb: [document, ...files].reduce((sum, entry) => sum + entry.transferSize, 0) / 1000,
  };
}"""


def main() -> None:
    """Measure and print one JSON line for the page's weight, then one a kind of visit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", default="embedded")
    args = parser.parse_args()
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        parser.error("no chromium; install it or set CHROMIUM to its path")
    visits: dict[str, list[dict[str, float]]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(args.runs):
            for name, told in run(browser, args.model):
                visits.setdefault(name, []).append(told)
        browser.close()
    print(f"# {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name, runs in visits.items():
        medians = {key: round(statistics.median(told[key] for told in runs), 2) for key in runs[0]}
        each = [round(next(iter(told.values())), 2) for told in runs]
        print(json.dumps({"case": name, **medians, "runs": each}), flush=True)


def run(browser: Browser, model: str) -> Iterator[tuple[str, dict[str, float]]]:
    """One start of the server, and each kind of visit."""
    with browser.new_context() as at_once, serving(model) as (server, url):
        worker = psutil.Process(server.pid)
        yield "at once", visit(at_once, url, worker)
        await_line(server, READY)
        yield "weight", weight(url)
        with browser.new_context() as new:
            yield "new browser", visit(new, url, worker)
            yield "again", visit(new, url, worker)
        with browser.new_context() as slow:
            yield f"{SLOWER} times slower", visit(slow, url, worker, slower=SLOWER)


def visit(context: BrowserContext, url: str, server: psutil.Process, *, slower: int = 1) -> dict[str, float]:
    """Open the page and use it."""
    page = context.new_page()
    page.add_init_script(WATCH)
    page.set_default_timeout(1000 * PATIENCE_SECONDS)
    client = context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})
    client.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    before = server.cpu_times()
    page.goto(url, wait_until="commit")
    page.fill(BOX, " ")
    page.click(SEND)
    page.wait_for_selector(ANSWER)
    after = server.cpu_times()
    told: dict[str, float] = page.evaluate(TOLD)
    spent = {entry["name"]: entry["value"] for entry in client.send("Performance.getMetrics")["metrics"]}
    page.close()
    server_s = after.user + after.system - before.user - before.system
    return {**told, "browser_s": spent["TaskDuration"], "server_s": server_s}


def weight(url: str) -> dict[str, float]:
    """What the server sends, and the seconds it takes to make it."""
    started = time.perf_counter()
    with urlopen(f"{url}/") as answer:
        document = answer.read()
    seconds = time.perf_counter() - started
    with urlopen(f"{url}/config") as answer:
        body = answer.read()
    config: dict[str, Any] = json.loads(body)
    return {
        "made_s": seconds, "document_kb": len(document) / 1000, "config_kb": len(body) / 1000,
        "blocks": len(config["components"]), "events": len(config["dependencies"]),
    }  # fmt: skip


if __name__ == "__main__":
    main()
