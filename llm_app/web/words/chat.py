"""Words of the Chat tab."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "chat_intro": (
        "Ask the loaded model; every reply shows its speed and the seed that repeats it.",
        "向已加载的模型提问；每条回复都给出速度，以及可复现它的随机种子。",
    ),
    "chat_log": ("Conversation", "对话记录"),
    "message": ("Message", "消息"),
    "message_hint": ("Message… (Shift+Enter for a new line)", "输入消息……（Shift+回车换行）"),
    "send": ("Send", "发送"),
    "new_chat": ("New chat", "新对话"),
    "undo_clear": ("Bring it back", "恢复刚才的对话"),
    "cleared": ("The conversation was cleared.", "对话已清空。"),
    "example_1": ("Explain what perplexity measures, in three sentences.", "用三句话解释困惑度衡量的是什么。"),
    "example_2": ("Write a short poem about rain on a tin roof.", "写一首关于雨打铁皮屋顶的短诗。"),
    "example_3": ("List five ideas for a weekend without a screen.", "列出五个不看屏幕过周末的点子。"),
    "ask": ("What would you like to know?", "想聊点什么？"),
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
}
