"""Chat templates render as transformers renders them, and are tried out before they are believed."""

import datetime
import time
from pathlib import Path

import pytest

from llm_app.engine import sandbox
from llm_app.engine.template import ChatTemplate, check_template
from llm_app.errors import ModelRejected, UserError
from llm_app.messages import Message
from tests import tiny

LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" + system_message + "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

GEMMA = """{{ bos_token }}
{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{% for message in messages %}
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{% endif %}
{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}
"""

QWEN = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}{{- tool | tojson }}{%- endfor %}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(last=-1, seen=[]) %}
{%- for message in messages[::-1] %}
    {%- if message.role == 'user' %}{%- set ns.last = messages|length - 1 - loop.index0 %}{%- break %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>' }}{% generation %}{{- 'assistant\\n' + message.content.split('</think>')[-1].lstrip('\\n') }}
        {%- if loop.index0 > ns.last %}{{- {'after': ns.last, 'text': message.content} | tojson(indent=2) }}{%- endif %}
        {{- '<|im_end|>\\n' }}{% endgeneration %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

MACROS = """{%- macro turn(message, mark='#') -%}
{{ mark ~ message.role|upper }}: {{ message.content }}{{ caller() if caller else '' }}
{%- endmacro -%}
{% for message in messages if message.content %}
  {{ turn(message, mark=cycler('-', '+').next()) }}
  {%- if loop.last and not add_generation_prompt %}{{ eos_token }}{% endif %}

{% else %}
nothing
{% endfor %}
{% call turn({'role': 'end', 'content': dict(a=1) | tojson}) %}!{% endcall %}{{ range(3) | join(',') }}
"""

TEMPLATES = {"ChatML": tiny.CHATML, "Llama 3": LLAMA3, "Gemma": GEMMA, "Qwen": QWEN, "macros": MACROS}
CONVERSATIONS = {
    "question": [Message("user", "Hello?")],
    "system": [Message("system", "  Be brief.\n"), Message("user", "汉字 <|im_end|> {{ 7 * 7 }} & <b>'\"</b>")],
    "turns": [
        Message("user", "1"), Message("assistant", "<think>\nhm\n</think>\n\n2 👩‍👩‍👧"), Message("user", " 3 \n"),
    ],
    "answered": [Message("user", "1"), Message("assistant", "\n  2\t")],
    "empty": [Message("user", "")],
}


@pytest.mark.parametrize("add_generation_prompt", [True, False])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_rendering_equals_apply_chat_template(template: str, conversation: str, add_generation_prompt: bool) -> None:
    tokenizer = tiny.make_tokenizer(TEMPLATES[template])
    tokenizer.bos_token = "<|im_start|>"
    messages = CONVERSATIONS[conversation]
    turns = [{"role": message.role, "content": message.content} for message in messages]
    ours = ChatTemplate.of(tokenizer)
    assert ours is not None
    try:
        expected = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
    except sandbox.jinja2.TemplateError as error:
        with pytest.raises(UserError, match=str(error).rstrip(".")):
            ours.render(messages, add_generation_prompt=add_generation_prompt)
    else:
        assert ours.render(messages, add_generation_prompt=add_generation_prompt) == expected


def test_strftime_now_gives_todays_date() -> None:
    template = ChatTemplate("{{ strftime_now('%Y') }}{{ messages[0].content }}")
    assert template.render([Message("user", "!")]) == f"{datetime.datetime.now().year}!"


def test_a_refusal_by_the_template_is_told_in_its_own_words() -> None:
    with pytest.raises(UserError, match="does not take this conversation: System role not supported"):
        ChatTemplate(GEMMA, {"bos_token": "<bos>"}).render([Message("system", "a"), Message("user", "b")])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{% for message in messages %}", "line 1: Unexpected end of template"),
        ("\n{{ messages | nonsense }}", "line 2: No filter named 'nonsense'"),
        ("{{ raise_exception('never\nagain.') }}", "never again."),
        ("{{ tools.name }}{{ nobody.at.home }}", "'nobody' is undefined"),
        ("x" * 200_001, "200,000 are the limit"),
    ],
    ids=["syntax", "filter", "refuses all", "undefined", "long"],
)
def test_L15_a_broken_template_is_rejected_with_the_reason(source: str, reason: str) -> None:
    with pytest.raises(ModelRejected) as refusal:
        check_template(source)
    assert refusal.value.message.startswith("chat template rejected: ")
    assert reason in refusal.value.message


def test_L15_a_template_that_waits_for_a_long_conversation_is_stopped_when_it_renders() -> None:
    template = ChatTemplate(
        "{% if messages|length > 100 %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
        "{% endif %}{{ messages[0].content }}"
    )
    assert template.render([Message("user", "short")]) == "short"
    start = time.perf_counter()
    with pytest.raises(UserError, match="runs for more than 1 s"):
        template.render([Message("user", "long")] * 101)
    assert time.perf_counter() - start < 5.0
    assert template.render([Message("user", "again")]) == "again"


def test_an_accepted_template_is_not_tried_out_again() -> None:
    source = tiny.CHATML + "{# first seen here #}"
    check_template(source)
    start = time.perf_counter()
    check_template(source)
    assert time.perf_counter() - start < 0.01


def test_the_digest_covers_source_and_special_tokens() -> None:
    one = ChatTemplate(tiny.CHATML, {"eos_token": "a"})
    assert one.digest == ChatTemplate(tiny.CHATML, {"eos_token": "a"}).digest
    assert one.digest != ChatTemplate(tiny.CHATML, {"eos_token": "b"}).digest
    assert one.digest != ChatTemplate(tiny.CHATML + " ", {"eos_token": "a"}).digest


def test_L14_a_tokenizer_without_template_has_none_and_of_several_the_default_counts() -> None:
    assert ChatTemplate.of(tiny.make_tokenizer(None)) is None
    tokenizer = tiny.make_tokenizer(None)
    tokenizer.chat_template = {"default": tiny.CHATML, "tool_use": GEMMA}
    chosen = ChatTemplate.of(tokenizer)
    assert chosen is not None
    assert chosen.source == tiny.CHATML


def test_the_child_process_needs_neither_this_folder_nor_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    (tmp_path / "jinja2.py").write_text("raise SystemExit('not the real one')")
    check_template(tiny.CHATML + "{# seen from elsewhere #}")
