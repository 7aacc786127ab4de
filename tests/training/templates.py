"""Chat templates in the styles of the families that people tune, written for these tests."""

from dataclasses import dataclass

CHATML = """{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}"""

# The system prompt goes into the first question; contents lose the space around them.
LLAMA_2 = """{%- if messages[0].role == 'system' -%}
{%- set note = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' -%}{%- set turns = messages[1:] -%}
{%- else -%}{%- set note = '' -%}{%- set turns = messages -%}{%- endif -%}
{%- for message in turns -%}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('Roles must alternate.') }}{%- endif -%}
{%- if message.role == 'user' -%}
{{ bos_token + '[INST] ' + (note if loop.first else '') + message.content.strip() + ' [/INST]' }}
{%- else -%}{{ ' ' + message.content.strip() + ' ' + eos_token }}{%- endif -%}
{%- endfor -%}"""

# Writes today's date.
LLAMA_3 = """{{- bos_token -}}
{%- if messages[0].role == 'system' -%}{%- set note = messages[0].content | trim -%}{%- set messages = messages[1:] -%}
{%- else -%}{%- set note = '' -%}{%- endif -%}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + strftime_now('%d %b %Y') + '\\n\\n' + note }}<|eot_id|>
{%- for message in messages -%}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}"""

# Takes no system prompt.
GEMMA = """{{ bos_token }}
{%- if messages[0].role == 'system' -%}{{ raise_exception('System role not supported') }}{%- endif -%}
{%- for message in messages -%}
{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
{{- message.content | trim + '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}"""

# The system prompt goes into a question that is asked now, and into no other; the tools stand before the last one.
MISTRAL = """{%- if messages[0].role == 'system' -%}
{%- set note = messages[0].content -%}{%- set turns = messages[1:] -%}
{%- else -%}{%- set note = '' -%}{%- set turns = messages -%}{%- endif -%}
{%- set asked = turns | selectattr('role', 'equalto', 'user') | list -%}
{{- bos_token -}}
{%- for message in turns -%}
{%- if message.role == 'user' -%}
{%- if tools and message == asked[-1] -%}{{ '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{%- endif -%}
{{- '[INST] ' + (note + '\\n\\n' if note and loop.last else '') + message.content + '[/INST]' -}}
{%- elif message.role == 'tool' -%}{{ '[TOOL_RESULTS]' + message.content + '[/TOOL_RESULTS]' }}
{%- elif message.tool_calls -%}{{ '[TOOL_CALLS]' + message.tool_calls | tojson + eos_token }}
{%- else -%}{{ ' ' + message.content + eos_token }}{%- endif -%}
{%- endfor -%}"""

# A finished conversation ends with the token that ends texts.
PHI = """{%- for message in messages -%}
{{ '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- else -%}{{ eos_token }}{%- endif -%}"""

ZEPHYR = """{%- for message in messages -%}
{{ '<|' + message.role + '|>\\n' + message.content + eos_token + '\\n' }}
{%- if loop.last and add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}
{%- endfor -%}"""

# A system prompt of its own; earlier reasoning is dropped, the last answer always has some; tools.
QWEN = """{%- if messages[0].role == 'system' -%}{%- set note = messages[0].content -%}
{%- else -%}{%- set note = 'You are a helpful assistant.' -%}{%- endif -%}
{{ '<|im_start|>system\\n' + note }}
{%- for tool in tools or [] -%}{{ '\\n' + tool | tojson }}{%- endfor -%}{{ '<|im_end|>\\n' }}
{%- set ns = namespace(last=0) -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}{{ '<|im_start|>user\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'tool' -%}
{{ '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- elif message.role == 'assistant' -%}
{%- set parts = message.content.split('</think>') -%}
{%- set content = parts[-1].lstrip('\\n') -%}
{%- set reasoning = parts[0].split('<think>')[-1] if parts | length > 1 else '' -%}
{{ '<|im_start|>assistant\\n' }}
{%- if loop.index0 > ns.last -%}{{ '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' }}{%- endif -%}
{{- content -}}
{%- for call in message.tool_calls or [] -%}
{{ '<tool_call>\\n' + call.function | tojson + '\\n</tool_call>' }}
{%- endfor -%}
{{ '<|im_end|>\\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"""

# The generation prompt begins the reasoning, which no finished answer shows.
DEEPSEEK = """{{ bos_token }}
{%- for message in messages -%}
{%- if message.role == 'system' -%}{{ message.content }}
{%- elif message.role == 'user' -%}{{ '<|User|>' + message.content }}
{%- else -%}{{ '<|Assistant|>' + message.content.split('</think>')[-1] + eos_token }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|Assistant|><think>\\n' }}{%- endif -%}"""

# No token ends a turn.
PLAIN = """{%- for message in messages -%}
{{ message.role | capitalize + ': ' + message.content + '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}"""

# The generation prompt ends in a space, which belongs to the first word of every answer.
VICUNA = """{%- for message in messages -%}
{%- if message.role == 'user' -%}{{ 'USER: ' + message.content + ' ' }}
{%- elif message.role == 'assistant' -%}{{ 'ASSISTANT: ' + message.content + eos_token }}
{%- else -%}{{ message.content + '\\n\\n' }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'ASSISTANT: ' }}{%- endif -%}"""

# Says itself what is trained.
MARKED = """{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' -%}
{% generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}
{%- else -%}{{ message.content + '<|im_end|>' }}{%- endif -%}
{{ '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"""


@dataclass(frozen=True)
class Style:
    """A template, its own tokens, and what ends an answer in it."""

    source: str
    tokens: tuple[str, ...]
    bos: str | None
    eos: str
    end: str  # after an answer, as it is trained
    inner_end: str | None = None  # before another question, where that differs
    lead: str = ""  # before an answer
    takes_system: bool = True


_IM = ("<|im_start|>", "<|im_end|>")
STYLES = {
    "ChatML": Style(CHATML, _IM, None, "<|im_end|>", "<|im_end|>"),
    "Llama 2": Style(LLAMA_2, ("<s>", "</s>"), "<s>", "</s>", " </s>", lead=" "),
    "Llama 3": Style(
        LLAMA_3, ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>",
    ),
    "Gemma": Style(
        GEMMA, ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>", "<end_of_turn>",
        takes_system=False,
    ),
    "Mistral": Style(
        MISTRAL, ("<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
        "<s>", "</s>", "</s>", lead=" ",
    ),
    "Phi": Style(
        PHI, ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>"), None, "<|endoftext|>", "<|end|>"
    ),
    "Zephyr": Style(ZEPHYR, ("<s>", "</s>"), "<s>", "</s>", "</s>"),
    "Qwen": Style(
        QWEN, (*_IM, "<think>", "</think>", "<tool_call>", "</tool_call>"), None, "<|im_end|>", "<|im_end|>"
    ),
    "DeepSeek": Style(DEEPSEEK, ("<s>", "</s>", "<|User|>", "<|Assistant|>"), "<s>", "</s>", "</s>"),
    "plain": Style(PLAIN, ("</s>",), None, "</s>", "</s>", inner_end="", lead=" "),
    "Vicuna": Style(VICUNA, ("<s>", "</s>"), "<s>", "</s>", "</s>"),
    "marked": Style(MARKED, _IM, None, "<|im_end|>", "<|im_end|>"),
}  # fmt: skip
