"""Words of the frame, and those that several tabs share."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "tab_chat": ("Chat", "对话"),
    "stop": ("Stop", "停止"),
    "options": ("Options", "选项"),
    "more": ("More", "更多"),
    "option_automatic": ("automatic", "自动"),
    "cancel": ("Cancel", "取消"),
    "page_outdated": (
        "This page is outdated: the program was started anew. Reload it; conversations and runs are kept.",
        "页面已过期：程序重新启动过。请重新加载，对话和运行都会保留。",
    ),
    "page_lost": (
        "The server does not answer. This page loads itself again when it does; conversations and runs are kept.",
        "服务器没有响应。恢复后页面会自动重新加载，对话和运行都会保留。",
    ),
    "page_reload": ("Reload", "重新加载"),
}
