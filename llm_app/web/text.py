"""Every sentence of the page, once, in English and Chinese; the sentences stand in `words`, one file a tab.

Static labels travel as `gr.I18n` keys and follow the browser's language. Sentences with numbers in them are sent in
both languages at once (`both`), and the style sheet shows the one that the page is in, so that switching needs no
round trip and the server need not know who reads which language.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from llm_app.classify.config import ClassifierConfig, ZeroShotConfig
from llm_app.classify.entities.config import EntityConfig
from llm_app.classify.topics.config import TopicsConfig
from llm_app.config import ModelConfig, SamplingConfig
from llm_app.options import Text, options_of
from llm_app.training.config import TrainConfig
from llm_app.training.search_config import SearchConfig
from llm_app.web.benchmark.config import BenchmarkConfig
from llm_app.web.words import (
    benchmark,
    chat,
    classify,
    classify_scores,
    compare,
    comparison,
    entities,
    errors,
    frame,
    keep,
    metrics,
    model,
    own_data,
    results,
    runs,
    tokens,
    tools,
    topics,
    tune,
    tune_data,
)
from llm_app.web.words.errors import ERRORS_ZH as ERRORS_ZH


def merged(*parts: Mapping[str, Text]) -> dict[str, Text]:
    """All sentences under one name each.

    Raises: ValueError where two files use one name.
    """
    names = [name for part in parts for name in part]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"more than one sentence is called {', '.join(twice)}")
    return {name: text for part in parts for name, text in part.items()}


# A tab brings one file of words and its name here.
STRINGS = merged(
    frame.STRINGS, model.STRINGS, chat.STRINGS, keep.STRINGS, runs.STRINGS, benchmark.STRINGS,
    results.STRINGS, metrics.STRINGS, comparison.STRINGS, tools.STRINGS, compare.STRINGS, tokens.STRINGS,
    errors.STRINGS, own_data.STRINGS, tune.STRINGS, tune_data.STRINGS, classify.STRINGS, classify_scores.STRINGS,
    entities.STRINGS, topics.STRINGS,
)


# The options that have controls of their own name.
CONFIGS = (
    SamplingConfig, ModelConfig, BenchmarkConfig, TrainConfig, SearchConfig, ZeroShotConfig, ClassifierConfig,
    EntityConfig, TopicsConfig,
)  # fmt: skip


def both(name: str, **values: object) -> str:
    """HTML with the sentence in both languages, of which the style sheet shows one. Values are escaped."""
    return pair(filled(name, **values))


def pair(text: Text) -> str:
    """HTML with a text in both languages, of which the style sheet shows one."""
    english, chinese = text
    if english == chinese:
        return inert(english)
    return f'<span class="en" lang="en">{inert(english)}</span><span class="zh" lang="zh">{inert(chinese)}</span>'


def inert(words: str) -> str:
    """The words as HTML that means nothing but themselves.

    Braces and dollars too: gradio's HTML block reads templates, its Chatbot reads formulas.
    """
    return escape(words).translate({ord(sign): f"&#{ord(sign)};" for sign in "{}$`"})


def filled(name: str, **values: object) -> Text:
    """The sentence in both languages, with its values put in."""
    english, chinese = STRINGS[name]
    return english.format(**values), chinese.format(**values)


def label(name: str) -> I18nData:
    """A label that the browser shows in its own language."""
    if name not in _ENGLISH:
        raise KeyError(name)
    return I18N(name)


def option_label(config: type[Any], field: str) -> I18nData:
    """The label of an option's form control."""
    return I18N(f"{config.__name__}_{field}")


def option_help(config: type[Any], field: str) -> I18nData:
    """The one-sentence explanation of an option."""
    return I18N(f"{config.__name__}_{field}_help")


def _translations() -> list[dict[str, str]]:
    # A sentence with values is put together here, and no label: the browser need not have it.
    texts = {name: words for name, words in STRINGS.items() if "{" not in words[0]}
    for config in CONFIGS:
        for field, info in options_of(config):
            texts[f"{config.__name__}_{field.name}"] = info.label
            texts[f"{config.__name__}_{field.name}_help"] = info.help
    return [{name: text[language] for name, text in texts.items()} for language in (0, 1)]


_ENGLISH, _CHINESE = _translations()
# The page has these locales; look/page.js gives every Chinese browser the one, gradio any other browser English.
I18N = gr.I18n(**{"en": _ENGLISH, "zh-CN": _CHINESE})
