"""What other servers do wrong, each as one sentence: refused, broken off, too much, not what was asked."""

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from llm_app import chat
from llm_app.config import ModelConfig, SamplingConfig, Settings
from llm_app.engine.host import Host
from llm_app.errors import ModelIsRemote, ModelNotFound, RemoteFailed, UserError
from llm_app.messages import Delta, Message
from llm_app.remote.address import KEY, KEY_FILE, Address, read_key
from llm_app.remote.client import MAX_LINE_BYTES
from tests.live import wait_for
from tests.remote.bad_server import Answer, Bad, answering, endless, piece, said, slowly, streamed

HELLO = [Message("user", "hello")]
OPENAI_ERROR = {"error": {"message": "the server says why", "type": "x", "param": None, "code": None}}
SECRET = "sk-CANARY-0123456789"


@contextmanager
def asking(bad: Bad, settings: Settings) -> Iterator[Host]:
    """A host whose model is on that server."""
    host = Host(settings)
    for _ in host.load(ModelConfig(bad.url)):
        pass
    try:
        yield host
    finally:
        host.shutdown(0.0)


def reply(host: Host, **options: object) -> list[Delta]:
    return list(chat.reply(host, HELLO, SamplingConfig(**options)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (said(401, OPENAI_ERROR), "wants another key (401)"),
        (said(404, OPENAI_ERROR), "not the model asked for (404): the server says why."),
        (said(404, {"detail": "Not Found"}), "(404): Not Found."),
        (said(400, OPENAI_ERROR), "refuses the request (400): the server says why."),
        (said(429, OPENAI_ERROR, Retry_After="7"), "It takes requests again in 7 s."),
        (said(503, b"<html>upstream</html>"), "could not answer (503)."),
        (said(302, b"", Location="http://127.0.0.1:9/"), "redirects to another address (302)"),
        (said(200, {"choices": []}, Content_Type="application/json"), "application/json instead of a stream"),
        (said(200, gzip.compress(b"data: {}"), Content_Encoding="gzip"), "a compressed answer"),
        (streamed(piece("half a"), 'data: {"error": {"message": "out of memory"}}'), "in the middle: out of memory."),
        (streamed(piece("half a"), 'data: {"error": "out of memory"}'), "in the middle: out of memory."),
        (streamed(piece("half a")), "broke off before its end"),
        (streamed("data: {not json"), "an event that is no JSON object"),
        (streamed("data: " + "x" * (MAX_LINE_BYTES + 70_000)), "an event of more than 1 MB"),
    ],
)  # fmt: skip
def test_a_chat_that_fails_on_the_other_server_ends_with_one_sentence(
    answer: Answer, sentence: str, settings: Settings
) -> None:
    with answering(answer) as bad, asking(bad, settings) as host, pytest.raises(RemoteFailed) as error:
        reply(host)
    assert sentence in error.value.message and "\n" not in error.value.message


def test_what_came_before_a_reply_broke_off_is_kept(settings: Settings) -> None:
    with answering(streamed(piece("half a"))) as bad, asking(bad, settings) as host:
        stream = chat.reply(host, HELLO, SamplingConfig())
        assert next(stream).text == "half a"
        with pytest.raises(RemoteFailed):
            next(stream)


def test_a_refused_connection_is_one_sentence(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens on it
        config = ModelConfig(f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        with pytest.raises(RemoteFailed, match="cannot be reached.*Is the server up"):
            list(Host(settings).load(config))


def test_stopping_a_reply_closes_the_connection(settings: Settings) -> None:
    left = threading.Event()
    with answering(endless(left)) as bad, asking(bad, settings) as host:
        stream = chat.reply(host, HELLO, SamplingConfig())
        assert next(stream).text == "more "
        stream.close()
        assert left.wait(5)


def test_the_end_of_the_server_ends_a_reply_with_a_reason(settings: Settings) -> None:
    with answering(endless(threading.Event())) as bad, asking(bad, settings) as host:
        stream = chat.reply(host, HELLO, SamplingConfig())
        next(stream)
        host.shutdown(0.0)
        with pytest.raises(UserError, match="unloaded before the reply ended"):
            list(stream)


def test_a_reply_may_end_within_the_grace_that_is_given(settings: Settings) -> None:
    with answering(slowly(piece("half "), piece("whole", "stop"))) as bad, asking(bad, settings) as host:
        stream = chat.reply(host, HELLO, SamplingConfig())
        assert next(stream).text == "half "
        host.shutdown(5.0)
        assert "".join(delta.text for delta in stream) == "whole"


def test_unloading_leaves_no_model(settings: Settings) -> None:
    with answering(said(200, {})) as bad, asking(bad, settings) as host:
        host.unload()
        assert host.status().state == "empty" and host.remote is None


def test_the_key_goes_to_the_server_and_nowhere_else(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)
    echo = {"error": {"message": f"Incorrect API key provided: {SECRET}"}}
    with answering(said(401, echo)) as bad, asking(bad, settings) as host:
        with pytest.raises(RemoteFailed) as error:
            reply(host)
        assert {headers.get("Authorization") for _, headers, _ in bad.asked} == {f"Bearer {SECRET}"}
        assert SECRET not in error.value.message and SECRET not in repr((host.status(), host.remote))


def test_a_key_never_travels_unencrypted(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\nsecond line\n")
    environ = {KEY_FILE: str(tmp_path / "key")}
    for url in ("https://models.example/v1", "http://127.0.0.1:8000/v1", "http://[::1]:8000/v1", "http://localhost/v1"):
        assert read_key(Address.parse(url), environ) == SECRET
    for url in ("http://models.example/v1", "http://10.0.0.7:8000/v1", "http://127.0.0.1.example/v1"):
        with pytest.raises(UserError, match="unencrypted") as error:
            read_key(Address.parse(url), environ)
        assert SECRET not in error.value.message


@pytest.mark.parametrize("text", [
    "http://", "http:///v1", "http://user:pw@host/v1", "http://host/v1?key=1", "http://host:99999/v1",
    "http://ho st/v1", "http://host\\@other/v1", "http://[::1/v1", "ftp://host/v1", "http://host\n/v1",
])  # fmt: skip
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    with pytest.raises(UserError) as error:
        Address.parse(text)
    assert "pw" not in error.value.message


def test_an_address_names_a_server_and_one_of_its_models() -> None:
    assert Address.parse("HTTP://Host:80/v1/#org/Model") == Address("http://host:80/v1", "org/Model")


def test_a_public_page_asks_no_server(tmp_path: Path) -> None:
    with answering(said(200, {})) as bad:
        host = Host(Settings(home=tmp_path, is_public=True))
        with pytest.raises(ModelNotFound):
            list(host.load(ModelConfig(bad.url)))
        assert bad.asked == []


def test_a_server_with_several_models_asks_which(settings: Settings) -> None:
    two = said(200, {"data": [{"id": "one"}, {"id": "two"}]})
    with answering(said(200, {}), models=two) as bad, pytest.raises(UserError, match="2 models: one, two. Add one"):
        list(Host(settings).load(ModelConfig(bad.url)))


@pytest.mark.parametrize("option", [{"precision": "bf16"}, {"adapter": "mine"}, {"context_length": 64}])
def test_what_the_other_server_decides_cannot_be_chosen(option: dict[str, object], settings: Settings) -> None:
    with answering(said(200, {})) as bad:
        with pytest.raises(UserError, match="that server decides"):
            list(Host(settings).load(ModelConfig(bad.url, **option)))  # type: ignore[arg-type]
        assert bad.asked == []


def test_a_model_that_does_not_answer_leaves_the_present_one_in_place(tiny_llama: Path, settings: Settings) -> None:
    host = Host(settings)
    for config in (ModelConfig(str(tiny_llama), precision="fp32"), ModelConfig("http://127.0.0.1:9/v1#m")):
        with suppress(RemoteFailed):
            list(host.load(config))
    assert host.remote is None and host.loaded.entry.path == tiny_llama
    host.unload()


def test_what_needs_a_model_on_this_machine_says_so(settings: Settings) -> None:
    with answering(said(200, {})) as bad, asking(bad, settings) as host:
        for ask in (lambda: host.loaded, lambda: host.attach("mine"), lambda: host.prompt_logprobs([1], 0)):
            with pytest.raises(ModelIsRemote, match="needs a model on this machine"):
                ask()


def test_another_model_takes_the_place_of_a_remote_one(tiny_llama: Path, settings: Settings) -> None:
    with answering(said(200, {})) as bad, asking(bad, settings) as host:
        remote = host.remote
        list(host.load(ModelConfig(str(tiny_llama), precision="fp32")))
        assert host.remote is None and host.loaded.entry.path == tiny_llama and remote is not None
        wait_for(lambda: not remote.client.is_open, 5)
        host.unload()


def test_options_that_not_every_server_knows_are_sent_only_where_they_were_set(settings: Settings) -> None:
    with answering(streamed(piece("a", "stop"), "data: [DONE]")) as bad, asking(bad, settings) as host:
        reply(host, seed=3)
        reply(host, seed=3, top_k=5, presence_penalty=0.5, stop=("END",))
        plain, changed = bad.bodies()
    assert set(plain) == {
        "model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens", "seed",
    }  # fmt: skip
    assert (changed["top_k"], changed["presence_penalty"], changed["stop"]) == (5, 0.5, ["END"])


def test_going_on_from_a_given_beginning_is_refused(settings: Settings) -> None:
    with answering(said(200, {})) as bad, asking(bad, settings) as host:
        with pytest.raises(UserError, match="cannot go on from a given beginning"):
            reply(host, reply_prefix="Once")
        assert bad.bodies() == []
