"""Words of the frame, and those that several tabs share."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "tab_chat": ("Chat", "对话"),
    "stop": ("Stop", "停止"),
    "options": ("Options", "选项"),
    "more": ("More", "更多"),
    "cancel": ("Cancel", "取消"),
}
