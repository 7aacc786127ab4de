"""Every sentence of the HTML report, once, in English and Chinese."""

from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

STRINGS: dict[str, tuple[str, str]] = {
    "title": ("Evaluation report", "评测报告"),
    "intro": (
        "What was measured, how sure each figure is, and every step needed to check it.",
        "测了什么、每个数字有多可靠，以及复核所需的全部信息。",
    ),
    "results": ("Results", "结果"),
    "task": ("Task", "任务"),
    "metric": ("Metric", "指标"),
    "value": ("Value", "得分"),
    "interval": ("95 % interval", "95% 置信区间"),
    "stderr": ("Std. error", "标准误"),
    "n": ("n", "样本数"),
    "shots": ("Shots", "示例数"),
    "version": ("Version", "版本"),
    "notes": ("Notes", "备注"),
    "partial": ("partial: {done:,} of {total:,} samples", "未跑完：{total:,} 条中的 {done:,} 条"),
    "unscored": ("{n:,} not scored", "{n:,} 条未能评分"),
    "prompts_cut": (
        "{n:,} of {total:,} prompts cut at the context", "{total:,} 条提示中有 {n:,} 条因超出上下文被截去开头",
    ),
    "room": (
        "Tokens a pass / replies at once, since memory was short",
        "每次前向的词元数 / 并行回复数（内存不足，已减少）",
    ),
    "few_passages": ("no interval: about {n} passages only", "材料只有 {n} 段，无法给出置信区间"),
    "like_guessing": ("not distinguishable from guessing ({chance})", "与随机猜测（{chance}）无法区分"),
    "arrows": ("↑ higher is better, ↓ lower is better.", "↑ 越高越好，↓ 越低越好。"),
    "methods": ("Intervals (95 %):", "置信区间（95%）的算法："),
    "no_interval": (
        "Where no interval is given, the samples are too few or too alike to tell one.",
        "未给出区间的，是样本太少或彼此太相似，无法估计。",
    ),
    "nothing": ("Nothing has been scored yet.", "还没有任何得分。"),
    "plots": ("Plots", "图"),
    "shares": ("Scores from 0 to 1", "取值 0 到 1 的指标"),
    "others": ("Other scores, each on its own scale", "其他指标，各用各的刻度"),
    "radar": ("All tasks at a glance", "各任务概览"),
    "radar_about": (
        "First metric of each task that runs from 0 (centre) to 1 (rim); thick strokes are intervals.",
        "每个任务的首个 0–1 指标：圆心为 0，外圈为 1；粗线段是置信区间。",
    ),
    "bars_about": ("Lines with caps are 95 % intervals.", "带端线的线段是 95% 置信区间。"),
    "bars_and_chance": (
        "Lines with caps are 95 % intervals; the dashed line is what guessing scores.",
        "带端线的线段是 95% 置信区间；虚线是随机猜测的得分。",
    ),
    "chance": ("guessing", "随机猜测"),
    "samples": ("Samples", "样本"),
    "samples_about": (
        "The first {n:,} samples of each task, as they were sent and as they came back. Open a line to read it.",
        "每个任务的前 {n:,} 条样本：原样的提示与回答。点开即可查看。",
    ),
    "n_samples": ("{n:,} samples", "{n:,} 条样本"),
    "right": ("right", "正确"),
    "wrong": ("wrong", "错误"),
    "not_scored": ("not scored", "未评分"),
    "not_asked": ("not asked yet", "尚未提问"),
    "counts": ("{right:,} right, {wrong:,} wrong", "{right:,} 条正确，{wrong:,} 条错误"),
    "prompt": ("Prompt, exactly as sent", "提示（与实际发送的完全一致）"),
    "prompts": ("Prompts, exactly as sent", "各条提示（与实际发送的完全一致）"),
    "scored_text": ("Text whose likelihood was measured", "被测量似然的文本"),
    "cut": ("… {n:,} more characters are left out here", "……此处省略 {n:,} 个字符"),
    "target": ("Target", "标准答案"),
    "choices": ("Choices", "选项"),
    "choice": ("Choice", "选项"),
    "logprob": ("Log-probability", "对数概率"),
    "share": ("Share", "占比"),
    "logprob_help": (
        "In nats, summed over the tokens. Share: its probability among these choices alone.",
        "单位为 nat，为各词元之和。占比：只在这些选项之间归一化后的概率。",
    ),
    "chosen": ("most likely", "概率最高"),
    "is_target": ("target", "标准答案"),
    "output": ("Output", "输出"),
    "extracted": ("Extracted answer", "提取出的答案"),
    "scores": ("Scores", "得分"),
    "greedy": ("the model's own choice", "模型自己也会这样写"),
    "unscored_title": ("What was not scored, and why", "未能评分的样本及原因"),
    "unscored_about": (
        "These samples are left out of the scores; they are not counted as wrong.",
        "这些样本不计入得分，也不算答错。",
    ),
    "sample": ("Sample", "样本"),
    "reason": ("Reason", "原因"),
    "and_more": ("and {n:,} more", "另有 {n:,} 条"),
    "who": ("Model and settings", "模型与设置"),
    "run": ("Run", "运行"),
    "created": ("Started (UTC)", "开始时间（UTC）"),
    "name": ("Model", "模型"),
    "adapter": ("Adapter", "适配器"),
    "precision": ("Precision", "精度"),
    "weights": ("Digest of the weights", "权重摘要"),
    "adapter_digest": ("Digest of the adapter", "适配器摘要"),
    "tokenizer": ("Digest of the tokenizer", "分词器摘要"),
    "template": ("Digest of the chat template", "对话模板摘要"),
    "config": ("Digest of the configuration", "模型配置摘要"),
    "limit": ("Samples of each task", "每个任务的样本上限"),
    "seed": ("Seed", "随机种子"),
    "context": ("Context length", "上下文长度"),
    "chat_template": ("Chat template used", "使用对话模板"),
    "none": ("none", "无"),
    # what an empty setting means
    "shots_empty": ("each task's own", "各任务自己的设置"),
    "limit_empty": ("all", "全部"),
    "seed_empty": ("the harness's own", "评测框架的默认值"),
    "chat_template_empty": ("no", "否"),
    "compared": ("Did it help?", "有没有变好？"),
    "baseline": ("Baseline", "基线"),
    "compared_run": ("Compared", "对比"),
    "change": ("Change", "变化"),
    "p": ("p (Holm)", "p 值（Holm）"),
    "won_lost": ("Won / lost / tied", "胜 / 负 / 平"),
    "shows": ("Smallest that shows", "可测出的最小变化"),
    "paired_about": (
        "Paired over the same samples; p is corrected (Holm) over {n:,} tests. Smallest that shows: the change that"
        " would most likely be found with these samples (80 % power). ● better, ○ no detectable change, ▲ worse.",
        "在相同样本上做配对检验；p 值已按 {n:,} 次检验做 Holm 校正。"
        "可测出的最小变化：以现有样本大概率能发现的变化（功效 80%）。● 变好，○ 未测出变化，▲ 变差。",
    ),
    "many_asked": (
        "{tasks}: the interval leaves out zero, and still no change is claimed. Of {n:,} questions asked at once some"
        " intervals do so by chance alone, which Holm's correction of p takes into account.",
        "{tasks}：区间不含零，但仍不认定有变化。同时检验 {n:,} 个问题时，总会有区间碰巧不含零，"
        "p 值的 Holm 校正已考虑这一点。",
    ),
    "parts_about": (
        "Lines with a dash describe the tasks of the group above: their intervals are not corrected, and none is"
        " tested.",
        "带短横的各行是上面任务组的子任务，仅供了解：置信区间未作校正，也不单独检验。",
    ),
    "not_comparable": ("is not comparable:", "不可比较："),
    "kind_fixed": ("fixed", "由错变对"),
    "kind_broken": ("broken", "由对变错"),
    "kind_better": ("better", "变好"),
    "kind_worse": ("worse", "变差"),
    "kind_changed": ("changed", "有变化"),
    "kind_equal": ("equal", "相同"),
    "kind_both_right": ("both right", "都对"),
    "kind_both_wrong": ("both wrong", "都错"),
    "repeat": ("How to repeat it", "如何复现"),
    "repeat_about": (
        "With the same weights and versions, this gives the same figures.",
        "权重与版本相同时，运行以下命令可得到相同的数字。",
    ),
    "no_command": (
        "The command is not known: the run was made by another program.", "命令未知：这次运行来自其他程序。",
    ),
    "made_by": (
        "Made by Proofbench. This page needs no network and runs no script.",
        "由 Proofbench 生成。本页不联网，也不运行脚本。",
    ),
    # how an interval was found
    "Wilson": ("Wilson's, of a proportion", "比例的 Wilson 区间"),
    "t": ("Student's t, of a mean", "均值的 t 区间"),
    "clustered t": ("Student's t over passages, since samples share them", "样本共用同一段文字，按段落聚类的 t 区间"),
    "BCa bootstrap": ("bootstrap (BCa)", "自助法（BCa）"),
    "clustered BCa bootstrap": (
        "bootstrap (BCa) over passages, since samples share them", "样本共用同一段文字，按段落抽样的自助法（BCa）",
    ),
    "percentile bootstrap": ("bootstrap (percentiles)", "自助法（百分位）"),
    "normal": ("normal, from the harness's standard error", "由评测框架的标准误按正态近似"),
}


def text(key: str, language: Language, **values: object) -> str:
    """One of STRINGS in a language, with its numbers put in."""
    return STRINGS[key][LANGUAGES.index(language)].format(**values)


def text_of(key: str, language: Language) -> str:
    """The same for a name that may have no entry; it then stays as it is."""
    return text(key, language) if key in STRINGS else key
