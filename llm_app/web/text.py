"""Every sentence of the page, once, in English and Chinese.

Static labels travel as `gr.I18n` keys and follow the browser's language. Sentences with numbers in them are sent in
both languages at once (`both`), and the style sheet shows the one that the page is in, so that switching needs no
round trip and the server need not know who reads which language.
"""

from html import escape
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from llm_app.config import ModelConfig, SamplingConfig
from llm_app.options import Text, options_of

STRINGS: dict[str, Text] = {
    # frame
    "tab_chat": ("Chat", "对话"),
    # model strip
    "model": ("Model", "模型"),
    "adapter": ("Adapter", "适配器"),
    "precision": ("Precision", "精度"),
    "load": ("Load", "加载"),
    "unload": ("Unload", "卸载"),
    "cancel": ("Cancel", "取消"),
    "memory": ("Memory", "内存"),
    "memory_help": (
        "Memory of the loaded model / memory it could have, as measured on this machine.",
        "已加载模型占用的内存 / 本机可供模型使用的内存。",
    ),
    "ready": ("ready", "就绪"),
    "context_of": ("context {n:,} tokens", "上下文 {n:,} 词元"),
    "no_template": (
        "no chat template: plain completion used",
        "该模型没有对话模板，按普通续写处理",
    ),
    "nothing_loaded": ("No model is loaded. Choose one and press Load.", "尚未加载模型。请选择一个模型并点击“加载”。"),
    "load_failed": ("Not loaded.", "加载失败。"),
    "stopping": ("The server is shutting down.", "服务器正在关闭。"),
    "waits_for_model": (
        "The model is still loading. The message goes out as soon as it is ready.",
        "模型还在加载，就绪后会立即发送这条消息。",
    ),
    "loading": ("Loading {model}", "正在加载 {model}"),
    "load_cancelled": ("Loading was cancelled.", "已取消加载。"),
    "checking": ("checking the files", "检查文件"),
    "reading": ("reading the weights", "读取权重"),
    "placing": ("placing them in memory", "放入内存"),
    "testing": ("trying it out", "试运行"),
    "starting": ("starting", "启动中"),
    "unloaded": ("Unloaded; its memory is free again.", "已卸载，内存已释放。"),
    "adapter_on": ("Adapter {adapter} is on.", "适配器 {adapter} 已启用。"),
    "adapter_off": ("The base model answers.", "现在由基础模型回答。"),
    "adapter_no_effect": (
        "Adapter {adapter} is on, but it has no effect: every one of its weights is zero.",
        "适配器 {adapter} 已启用，但没有任何作用：其权重全部为零。",
    ),
    # chat
    "chat_intro": (
        "Ask the loaded model; every reply shows its speed and the seed that repeats it.",
        "向已加载的模型提问；每条回复都给出速度，以及可复现它的随机种子。",
    ),
    "chat_log": ("Conversation", "对话记录"),
    "message": ("Message", "消息"),
    "message_hint": ("Message… (Shift+Enter for a new line)", "输入消息……（Shift+回车换行）"),
    "send": ("Send", "发送"),
    "stop": ("Stop", "停止"),
    "new_chat": ("New chat", "新对话"),
    "undo_clear": ("Bring it back", "恢复刚才的对话"),
    "cleared": ("The conversation was cleared.", "对话已清空。"),
    "example_1": ("Explain what perplexity measures, in three sentences.", "用三句话解释困惑度衡量的是什么。"),
    "example_2": ("Write a short poem about rain on a tin roof.", "写一首关于雨打铁皮屋顶的短诗。"),
    "example_3": ("List five ideas for a weekend without a screen.", "列出五个不看屏幕过周末的点子。"),
    "ask": ("What would you like to know?", "想聊点什么？"),
    "options": ("Options", "选项"),
    "more": ("More", "更多"),
    "system_prompt": ("System prompt", "系统提示词"),
    "system_prompt_help": (
        "Instructions that stand before the conversation and are never cut.",
        "放在对话最前面的指令，不会被截断。",
    ),
    "context": ("Context", "上下文"),
    "context_used": ("{used:,} of {total:,} tokens", "已用 {used:,} / {total:,} 词元"),
    "context_help": (
        "Tokens of the last prompt and reply, out of those the model can read at once.",
        "最近一次提示与回复占用的词元，以及模型一次能读取的上限。",
    ),
    "messages_cut": (
        "{n} of the oldest messages no longer fit the context and were not sent to the model.",
        "最早的 {n} 条消息已超出上下文，没有发给模型。",
    ),
    "waiting": ("reading the prompt", "正在读取提示"),
    "writing": ("writing", "生成中"),
    "tokens": ("{n:,} tokens", "{n:,} 词元"),
    "token": ("1 token", "1 词元"),
    "tokens_per_second": ("{n:,.0f} tok/s", "{n:,.0f} 词元/秒"),
    "first_token": ("{ms:,.0f} ms", "{ms:,.0f} 毫秒"),
    "seed": ("seed {seed}", "种子 {seed}"),
    "stopped": ("stopped", "已停止"),
    "cut_at_length": ("ended at the token limit", "达到词元上限"),
    "cut_at_time": ("ended at the time limit", "达到时间上限"),
    "failed": ("failed", "生成失败"),
    # errors
    "request": ("request {id}", "请求编号 {id}"),
    "internal_error": (
        "Something went wrong on our side. Try again; if it stays, report the request number.",
        "程序内部出错。请重试；若仍然出错，请反馈请求编号。",
    ),
    "empty_message": ("Write a message first.", "请先输入消息。"),
    "long_message": (
        "The message has {n:,} characters; at most {max:,} are read. Shorten it.",
        "消息有 {n:,} 个字符，最多读取 {max:,} 个。请缩短后再发送。",
    ),
    "not_unicode": (
        "The message is not valid Unicode. Paste it again as plain text.",
        "消息不是有效的 Unicode 文本。请以纯文本重新粘贴。",
    ),
    "full_conversation": (
        "This conversation has reached {n} messages. Start a new chat.",
        "本次对话已达 {n} 条消息。请开始新对话。",
    ),
    "wrong_value": (
        "The form sent a value of the wrong type. Reload the page.",
        "表单提交了类型错误的值。请刷新页面。",
    ),
    "outdated": ("That message is no longer there. Reload the page.", "该消息已不存在。请刷新页面。"),
    "public_mode": ("This public page keeps one fixed model.", "公开演示页面只提供一个固定模型。"),
}

# What an error means to a Chinese reader; the English sentence with its details follows it.
ERRORS_ZH: dict[str, str] = {
    "invalid_request": "有一项设置不被接受",
    "model_not_found": "找不到该模型或适配器",
    "invalid_model": "模型文件不完整、不安全或不受支持",
    "does_not_fit": "内存不足，无法加载",
    "context_length_exceeded": "内容超出模型的上下文长度",
    "model_busy": "另一个模型正在加载，请稍候",
    "queue_full": "排队人数已满，请稍后重试",
    "model_loading": "模型尚未就绪，请稍候",
    "engine_unavailable": "推理引擎多次出错，已停止，请重启服务",
    "shutting_down": "服务器正在关闭",
    "no_network": "无法连接网络",
    "needs_access": "需要先获得该模型的访问权限",
    "no_space": "磁盘空间不足",
    "internal_error": "生成过程出错",
    "cancelled": "已取消",
    "not_allowed_in_public_mode": "公开演示页面不允许此操作",
    "run_not_found": "没有这次运行",
    "run_is_running": "这次运行正在进行，请等它结束或先停止它",
    "rate_limited": "已达到上限，请稍后再试或先删除旧的运行",
    "insufficient_storage": "空间不足，请先腾出一些空间",
}


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
    if name not in STRINGS:
        raise KeyError(name)
    return I18N(name)


def option_label(config: type[Any], field: str) -> I18nData:
    """The label of an option's form control."""
    return I18N(f"{config.__name__}_{field}")


def option_help(config: type[Any], field: str) -> I18nData:
    """The one-sentence explanation of an option."""
    return I18N(f"{config.__name__}_{field}_help")


def _translations() -> list[dict[str, str]]:
    texts = dict(STRINGS)
    for config in (SamplingConfig, ModelConfig):
        for field, info in options_of(config):
            texts[f"{config.__name__}_{field.name}"] = info.label
            texts[f"{config.__name__}_{field.name}_help"] = info.help
    return [{name: text[language] for name, text in texts.items()} for language in (0, 1)]


_ENGLISH, _CHINESE = _translations()
# The page has these locales; a browser in any other language gets English.
I18N = gr.I18n(**{"en": _ENGLISH, "zh-CN": _CHINESE, "zh-TW": _CHINESE})
