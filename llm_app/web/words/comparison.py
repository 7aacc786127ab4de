"""Words of the part that asks whether it helped."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "col_baseline": ("Baseline", "基线"),
    "col_candidate": ("Compared", "对比"),
    "result_compared_with_it": ("Compared with it", "与之比较"),
    "result_compare_runs": ("Compare", "比较"),
    "result_base_or_adapter": ("Base against adapter", "基础模型对比适配器"),
    "result_compare_hint": (
        "The likeliest baseline is chosen. Press Compare: both runs are compared sample by sample.",
        "已选好最可能的基线。点击“比较”，两次运行会逐条样本对比。",
    ),
    "result_compare_none": (
        "No other run was asked the same. Run these tasks again with another model, adapter or precision.",
        "没有其他运行回答过同样的内容。请用另一个模型、适配器或精度再跑一次这些任务。",
    ),
    "result_odd_runs": (
        "Runs that cannot be compared with this one, ≠ in the menus ({n:,})",
        "无法与本次运行比较的运行，在菜单中标为 ≠（{n:,}）",
    ),
    "result_earlier_version": (
        "it was made by an earlier version of this program",
        "由本程序的早期版本产生",
    ),
    "result_compare_needs_two": (
        "No other run has one of these tasks. Run them with another model, adapter or precision first.",
        "没有其他运行包含这些任务。请先用另一个模型、适配器或精度跑一次。",
    ),
    "result_comparing_runs": ("Comparing, sample by sample…", "正在逐条样本比较……"),
    "result_choose_two_runs": (
        "Choose a baseline and another run. Where there is none, run the same tasks a second time with another model,"
        " adapter or precision: both stand here then.",
        "请选择一个基线和另一次运行。若还没有，请用另一个模型、适配器或精度再跑一次同样的任务，两次运行就都会列在这里。",
    ),
    "result_compare_later": (
        "Once this run has answers, the runs that it can be compared with stand here.",
        "这次运行有了回答之后，可与之比较的运行会列在这里。",
    ),
    "result_no_partner": (
        "There is no run of the same base and tasks with (or without) an adapter.",
        "没有同一基础模型、同样任务而适配器不同的运行。",
    ),
    "col_change": ("Change", "变化"),
    "result_p_holm": ("p (Holm)", "p 值（Holm）"),
    "result_p_holm_help": (
        "How often a difference this large would come by chance alone, corrected for the number of tests.",
        "若没有真实差别，仅凭偶然出现这么大差异的概率，已按检验次数校正。",
    ),
    "result_won_lost": ("Won / lost / tied", "胜 / 负 / 平"),
    "result_won_lost_help": (
        "Samples on which the compared run did better, worse, and the same.",
        "对比的运行在多少条样本上更好、更差、相同。",
    ),
    "result_smallest_shown": ("Smallest that shows", "可测出的最小变化"),
    "result_smallest_help": (
        "The change that would most likely be found with these samples (80 % power).",
        "以现有样本大概率能发现的变化（功效 80%）。",
    ),
    "result_smallest_about": (
        "“Smallest that shows” is the change that these samples would most likely find; a smaller one may be there and"
        " stay unseen.",
        "“可测出的最小变化”是以这些样本大概率能发现的变化；更小的变化即使存在，也可能看不出来。",
    ),
    "result_needed_n": ("n for 2 points", "测出 2 个百分点之差所需样本"),
    "result_needed_help": (
        "Samples that would most likely show a difference of 2 points (2 % of the score where it is no share).",
        "大概率能测出 2 个百分点差别（得分不是比例时为 2%）所需的样本数。",
    ),
    "outcome_better": ("better", "变好"),
    "outcome_none": ("not detectable", "未测出"),
    "outcome_worse": ("worse", "变差"),
    "result_paired_about": (
        "Paired over the same samples; p is corrected (Holm) over {n:,} tests.",
        "在相同样本上做配对检验；p 值已按 {n:,} 次检验做 Holm 校正。",
    ),
    "result_many_asked": (
        "{tasks}: the interval leaves out zero, and still no change is claimed. Of {n:,} questions asked at once some"
        " intervals do so by chance alone, which Holm's correction of p takes into account.",
        "{tasks}：区间不含零，但仍不认定有变化。同时检验 {n:,} 个问题时，总会有区间碰巧不含零，"
        "p 值的 Holm 校正已考虑这一点。",
    ),
    "result_in_words": ("In words, task by task", "逐个任务的文字说明"),
    "result_parts_about": (
        "Lines that begin with – are tasks of the group above them: described, not tested.",
        "以 – 开头的行是上方任务组中的任务：只作描述，不做检验。",
    ),
    "result_tests_used": ("Tests:", "所用检验："),
    "plot_differences": ("Paired differences with 95 % intervals", "配对差异与 95% 置信区间"),
    "result_worse_side": ("◂ worse", "◂ 变差"),
    "result_better_side": ("better ▸", "变好 ▸"),
    "result_not_comparable": ("These runs cannot be compared.", "这两次运行无法比较。"),
    "result_not_comparable_because": ("is not comparable because:", "不可比较，原因："),
    "result_no_common_task": ("They have no task in common.", "它们没有共同的任务。"),
    "result_remarks_on": ("Remarks on this comparison", "关于这次比较的说明"),
    "result_what_changed": ("What changed", "改动之处"),
    "result_logprobs_both": ("Log-probabilities of the choices (✓ most likely)", "各选项的对数概率（✓ 为概率最高）"),
}
