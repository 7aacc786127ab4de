"""Words of the tools beside the benchmark: the ruler for precisions and the template doctor."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "tool_ruler": ("One ruler for precisions", "各精度同题对比"),
    "tool_doctor": ("Template doctor", "模板医生"),
    "tool_ruler_about": (
        "What does each precision of the loaded model cost in quality and save in memory? The same text and the same"
        " task go through each, compared with fp32. The loaded model makes room meanwhile and comes back afterwards;"
        " chats wait so long.",
        "已加载模型的每种精度损失多少质量、节省多少内存？同一段文本和同一个任务依次用各精度测量，并与 fp32 比较。"
        "测量期间会先卸下当前模型，结束后自动装回；其间无法对话。",
    ),
    "tool_precisions": ("Precisions", "精度"),
    "tool_text": ("Text", "文本"),
    "tool_text_bundled": ("The one that comes along", "自带文本"),
    "tool_text_own": ("Your own", "自己的文本"),
    "tool_tokens": ("Tokens of the text", "读取的词元数"),
    "tool_task": ("Task", "任务"),
    "tool_task_none": ("none", "无"),
    "tool_limit": ("Samples of the task", "任务样本数"),
    "tool_measure": ("Measure", "开始测量"),
    "tool_no_precision": ("Choose at least one precision.", "请至少选择一种精度。"),
    "tool_long_text": ("The text has more than {max:,} characters. Shorten it.", "文本超过 {max:,} 个字符，请缩短。"),
    "tool_empty_text": ("Paste a text, or use the one that comes along.", "请粘贴文本，或使用自带文本。"),
    "tool_number": ("Enter a whole number from 1 to {max:,}.", "请输入 1 到 {max:,} 之间的整数。"),
    "tool_no_task": (
        "There is no task called {task}. Choose one of the list.",
        "没有名为 {task} 的任务，请从列表中选择。",
    ),
    "ruler_precision": ("Precision", "精度"),
    "ruler_perplexity": ("Token perplexity ↓", "词元困惑度 ↓"),
    "ruler_kl": ("KL to fp32 ↓, nats a token", "相对 fp32 的 KL 散度 ↓（nat/词元）"),
    "ruler_agreement": ("Same top token ↑", "首选词元一致 ↑"),
    "ruler_weights": ("Weights ↓", "权重 ↓"),
    "ruler_process": ("Process ↓", "进程内存 ↓"),
    "ruler_prefill": ("Prompt tok/s ↑", "读提示 词元/秒 ↑"),
    "ruler_decode": ("Reply tok/s ↑", "生成 词元/秒 ↑"),
    "ruler_score": ("Score, 95 % interval", "得分与 95% 置信区间"),
    "ruler_starting": ("Starting", "正在启动"),
    "ruler_loading": ("{precision}: loading", "{precision}：加载中"),
    "ruler_reading": ("{precision}: reading the text", "{precision}：读取文本"),
    "ruler_timing": ("{precision}: taking the time", "{precision}：测速"),
    "ruler_scoring": ("{precision}: asking the task", "{precision}：回答任务"),
    "ruler_queued": ("It waits for the run before it.", "正在等待前面的运行结束。"),
    "ruler_stopped": ("Stopped; what was measured stays.", "已停止，已测得的结果保留。"),
    "ruler_interrupted": ("It was interrupted. Measure again.", "测量被中断，请重新测量。"),
    "ruler_failed": ("It could not go on.", "测量无法继续。"),
    "ruler_about": (
        "{n:,} tokens of text. KL: how far the precision's probabilities are from those of fp32; 0 is equal.",
        "文本共 {n:,} 个词元。KL：该精度的概率与 fp32 相差多少，0 表示完全相同。",
    ),
    "ruler_refused": ("is not available:", "不可用："),
    "tool_doctor_about": (
        "Prompts are wrong in ways that no score shows. See the first ones exactly as the model gets them, and what"
        " would spoil a score.",
        "提示中的问题往往不会在分数里显露。这里按模型实际收到的样子显示最初的几条提示，并指出会影响得分的问题。",
    ),
    "tool_template": ("Chat template", "对话模板"),
    "tool_template_off": ("Off", "不用"),
    "tool_template_on": ("On", "使用"),
    "tool_look": ("Look at the prompts", "查看提示"),
    "tool_both_ways": ("Try a few samples both ways", "两种方式各试几条"),
    "tool_looking": ("Reading the task and looking at its prompts…", "正在读取任务并检查提示……"),
    "tool_trying": ("Asking a few samples without the template and with it…", "正在不用模板和使用模板各问几条样本……"),
    "tool_no_template": ("This model has no chat template.", "该模型没有对话模板。"),
    "tool_no_prompt": ("This task has no prompt to look at.", "该任务没有可检查的提示。"),
    "tool_nothing_wrong": ("Nothing wrong was found with the prompts.", "没有发现提示有问题。"),
    "tool_first_prompt": ("the first prompt, {n:,} tokens", "第一条提示，{n:,} 个词元"),
    "tool_scored_tokens": ("Scored after it:", "其后计分的词元："),
    "tool_tokens_of_prompt": ("Its tokens", "逐个词元"),
    "tool_more_tokens": ("… {n:,} more …", "…… 另有 {n:,} 个 ……"),
    "tool_no_scores": ("No template touches this task: it measures running text.", "该任务测量连续文本，不涉及模板。"),
    "tool_both_scores": (
        "{metric} on {n:,} samples: {plain} without the chat template, {templated} with it.",
        "{metric}，{n:,} 条样本：不用对话模板 {plain}，使用对话模板 {templated}。",
    ),
    "tool_both_about": (
        "So few samples show whether a template is badly wrong, not which way is better.",
        "样本这么少，只能看出模板是否严重出错，不能判断哪种方式更好。",
    ),
}
