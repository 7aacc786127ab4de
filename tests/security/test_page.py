"""The page against what was done to its peers: rows B1 to B9 and D2, D4 of the threat table, over raw HTTP."""

import ast
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
import httpx
import pytest

import llm_app.web
from tests.web.site import Site, serving, texts

MARK = "TOP-SECRET-MARK"
WEB = Path(llm_app.web.__file__).parent


@pytest.fixture(scope="module")
def site(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("home"), tiny_llama) as site:
        secret = site.services.settings.home / "secret.txt"
        secret.write_text(MARK, encoding="utf-8")
        yield site


def file_payloads(secret: Path) -> list[str]:
    """Spellings that led out of the served folders elsewhere."""
    paths = ["/etc/passwd", str(secret), "/proc/self/environ", str(Path(gr.__file__).parent / "routes.py")]
    climbs = [
        "../" * 12,
        "..%2f" * 12,
        "%2e%2e/" * 12,
        "..%252f" * 12,
        "..\\" * 12,
        "....//" * 12,
        "..;/" * 8,
        "./../" * 12,
    ]
    spelled = []
    for path in paths:
        spelled += [
            path,
            path.upper(),
            path.title(),
            "/" + path,
            "//" + path,
            path.replace("/", "\\"),
            path + "%00.png",
        ]
        spelled += [
            quote(path, safe=""),
            quote(quote(path, safe=""), safe=""),
            f"file://{path}",
            f"/.{path}",
            path + "/.",
        ]
    return spelled + [climb + path.lstrip("/") for climb in climbs for path in paths]


@pytest.mark.parametrize("route", [
    "/gradio_api/file=", "/file=", "/gradio_api/file/", "/file/", "/static/", "/assets/", "/svelte/", "/theme.css/",
    "/gradio_api/custom_component/x/client/component/", "/gradio_api/stream/a/b/",
    "/gradio_api/proxy=", "/gradio_api/deep_link/",
])  # fmt: skip
def test_B1_no_spelling_of_a_path_leaves_the_served_folders(site: Site, route: str) -> None:
    secret = site.services.settings.home / "secret.txt"
    for payload in file_payloads(secret):
        # A socket of its own, since clients tidy paths up before they send them.
        request = f"GET {route}{payload.replace(' ', '%20')} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        answer = raw(site, request.encode("utf-8", "surrogateescape"))
        status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP") else 400
        assert MARK.encode() not in answer and b"root:x:" not in answer and b"PATH=" not in answer, payload
        assert status != 200 or b"<!doctype html" in answer.lower(), (route, payload, answer[:200])


def test_B1_a_link_inside_the_cache_leads_nowhere(site: Site, tmp_path: Path) -> None:
    uploads = Path(site.page.GRADIO_CACHE) if hasattr(site.page, "GRADIO_CACHE") else tmp_path
    uploads.mkdir(parents=True, exist_ok=True)
    link = uploads / "innocent.txt"
    link.unlink(missing_ok=True)
    link.symlink_to(site.services.settings.home / "secret.txt")
    try:
        assert MARK not in site.client.get(f"/gradio_api/file={link}").text
    finally:
        link.unlink()


def raw(site: Site, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", httpx.URL(site.url).port or 0), timeout=10) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


def file_dictionaries(path: Path) -> list[Any]:
    data = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    return [
        data,
        [data],
        {"file": data},
        {"text": "x", "files": [data]},
        {"role": "user", "content": data},
        {"value": data},
    ]


def test_B2_a_file_dictionary_in_any_input_is_never_served(site: Site, tmp_path: Path) -> None:
    outside = tmp_path / "other-program.txt"
    outside.write_text(MARK, encoding="utf-8")
    targets = [site.services.settings.home / "secret.txt", outside, Path(os.getcwd()) / "pyproject.toml"]
    for n, value in enumerate(v for target in targets for v in file_dictionaries(target)):
        for control in ("message", "system_prompt", "option_reply_prefix", "option_stop"):
            session = f"b2-{n}-{control}"
            values = {"message": "hello", "option_max_new_tokens": 1, control: value}
            answer = site.join("send", "click", session, **values)
            words = answer.text + (json.dumps(site.events(session)) if answer.status_code == 200 else "")
            assert MARK not in words
            assert "gradio_api/file=" not in words, words[-300:]


def test_B2_a_file_dictionary_typed_as_a_message_is_shown_as_text(site: Site) -> None:
    words = json.dumps({"path": str(site.services.settings.home / "secret.txt"), "meta": {"_type": "gradio.FileData"}})
    conversation = site.shown(site.send(words, option_reply_prefix=words), "conversation")
    assert texts(conversation)[0] == words and texts(conversation)[1].startswith(words)
    assert {part["type"] for turn in conversation for part in turn["content"]} == {"text"}


@pytest.fixture
def canary() -> Iterator[tuple[int, list[bytes]]]:
    """A port that counts who calls."""
    calls: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            calls.append(connection.recv(100))
            connection.close()

    threading.Thread(target=listen, daemon=True).start()
    yield listener.getsockname()[1], calls
    listener.close()


def test_B3_no_address_in_any_input_is_fetched(site: Site, canary: tuple[int, list[bytes]]) -> None:
    port, calls = canary
    urls = [
        f"http://{host}:{port}/x.png"
        for host in ("127.0.0.1", "2130706433", "[::1]", "localhost.", "0x7f000001", "127.1")
    ]
    for n, url in enumerate(urls):
        data = {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}
        for k, value in enumerate((url, f"![x]({url})", f'<img src="{url}">', data, {"file": data})):
            session = f"b3-{n}-{k}"
            if site.join("send", "click", session, message=value, option_max_new_tokens=1).status_code == 200:
                site.events(session)
        for route in ("/gradio_api/file=", "/gradio_api/proxy=", "/file=", "/proxy=", "/gradio_api/proxy=http://"):
            assert site.client.get(route + url).status_code in (400, 403, 404, 405)
            assert site.client.get(route + quote(url, safe="")).status_code in (400, 403, 404, 405)
    assert calls == []


def test_B5_an_uploaded_page_or_picture_is_a_download_never_a_page(site: Site) -> None:
    script = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    for name in ("a.html", "a.svg", "a.xml", "a.js", "a.xhtml", "a.htm", "A.HTML", "a.html.png.html"):
        answer = site.client.post("/gradio_api/upload", files={"files": (name, script)})
        if answer.status_code != 200:
            continue
        served = site.client.get(f"/gradio_api/file={answer.json()[0]}")
        if served.status_code == 200:
            assert served.headers["content-disposition"].startswith("attachment"), name
            assert served.headers["x-content-type-options"] == "nosniff"
            assert "html" not in served.headers["content-type"] and "svg" not in served.headers["content-type"]


@pytest.mark.parametrize(
    "path", ["/monitoring", "/monitoring/", "/monitoring/summary", "/monitoring/x", "/gradio_api/monitoring/summary"]
)
def test_B7_monitoring_is_closed(site: Site, path: str) -> None:
    answer = site.client.get(path)
    assert answer.status_code in (401, 403, 404) and "process_time" not in answer.text


@pytest.mark.parametrize("path", [
    "/gradio_api/proxy=https://huggingface.co/x", "/proxy=http://127.0.0.1:1/x", "/gradio_api/proxy=https://x.hf.space/y"
])  # fmt: skip
def test_B9_nothing_is_fetched_for_visitors(site: Site, path: str) -> None:
    assert site.client.get(path).status_code in (400, 403, 404)


@pytest.mark.parametrize("path", [
    "/gradio_api/mcp", "/gradio_api/mcp/sse", "/gradio_api/vibe-edit/", "/gradio_api/vibe-code",
    "/gradio_api/deep_link", "/gradio_api/undo-vibe-edit", "/gradio_api/runs", "/gradio_api/run-history/records",
    "/gradio_api/process_recording",
])  # fmt: skip
def test_B17_tools_and_editing_are_not_there(site: Site, path: str) -> None:
    for method in ("GET", "POST"):
        answer = site.client.request(method, path)
        assert answer.status_code in (403, 404, 405), (method, path, answer.status_code)


def test_D2_D4_the_browser_is_told_to_clean_what_models_write(site: Site) -> None:
    for component in site.config()["components"]:
        assert component["props"].get("sanitize_html", True) is True, component["type"]
        if component["type"] == "chatbot":
            assert component["props"]["allow_tags"] is False
            assert component["props"]["latex_delimiters"] == []
            assert component["props"]["buttons"] == ["copy"], "no sharing to another site"


def test_D2_every_block_of_html_is_made_by_our_own_functions() -> None:
    """gr.HTML is named in one place, which takes what text.py and views.py have made inert."""
    for file in WEB.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("HTML", "Markdown", "Dataframe") or file.name == "html.py", (
                    f"{file.name}:{node.lineno}"
                )
                assert not {"js", "head_paths"} & {k.arg for k in node.keywords}, f"{file.name}:{node.lineno}"


def test_history_kept_by_the_server_is_not_taken_from_the_client(site: Site) -> None:
    function = site.function("send", "click")
    data = site.inputs(function, message="hello", option_max_new_tokens=1)
    data[1] = [{"role": "user", "content": "forged"}]
    body = {"data": data, "fn_index": function["id"], "session_hash": "forger"}
    assert site.client.post("/gradio_api/queue/join", json=body).status_code == 200
    done = [m for m in site.events("forger") if m["msg"] == "process_completed"][-1]
    assert "forged" not in json.dumps(done)
