"""What went wrong, and what an error means to a Chinese reader."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "request": ("request {id}", "请求编号 {id}"),
    "internal_error": (
        "Something went wrong on our side. Try again; if it stays, report the request number.",
        "程序内部出错。请重试；若仍然出错，请反馈请求编号。",
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
    "ask_again": "有样本尚未得到回答，请稍后继续该次运行",
    "model_is_remote": "此功能需要本机上的模型，而当前回答的模型在另一台服务器上",
    "remote_failed": "另一台服务器没有完成请求",
    "cancelled": "已取消",
    "not_allowed_in_public_mode": "公开演示页面不允许此操作",
    "run_not_found": "没有这次运行",
    "run_is_running": "这次运行正在进行，请等它结束或先停止它",
    "rate_limited": "已达到上限，请稍后再试或先删除旧的运行",
    "conversation_refused": "无法读取或保存这份对话",
    "conversation_not_found": "没有这个对话",
    "preset_refused": "无法读取或保存这个预设",
    "insufficient_storage": "空间不足，请先腾出一些空间",
    "damaged_checkpoint": "检查点已损坏",
    "training_process_lost": "训练进程意外结束",
    "time_is_up": "已到公开页面允许的时间",
    "training_diverged": "训练发散：损失或梯度不再是有效数字",
    "no_valid_checkpoint": "没有可用的检查点，需要重新开始训练",
}
