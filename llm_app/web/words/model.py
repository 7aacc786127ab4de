"""Words of the strip above all tabs."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "model": ("Model", "模型"),
    "adapter": ("Adapter", "适配器"),
    "precision": ("Precision", "精度"),
    "load": ("Load", "加载"),
    "unload": ("Unload", "卸载"),
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
}
