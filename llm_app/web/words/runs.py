"""Words of run cards and of the list of runs, which every tab with long work shares."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "no_cookie": (
        "This browser keeps no cookie of this page, so your runs could not be told from those of others. Allow it, or"
        " open the page in a window of its own.",
        "浏览器没有保存本页面的 Cookie，无法区分你与他人的运行。请允许 Cookie，或在单独的窗口中打开本页面。",
    ),
    "state_running": ("running", "运行中"),
    "state_stopping": ("stopping", "正在停止"),
    "state_starting": ("starts next", "即将开始"),
    "state_queued": ("waiting, place {n}", "排队第 {n} 位"),
    "state_done": ("done", "已完成"),
    "state_cancelled": ("stopped", "已停止"),
    "state_interrupted": ("interrupted", "已中断"),
    "state_paused": ("paused", "已暂停"),
    "state_failed": ("failed", "失败"),
    "state_damaged": ("damaged", "已损坏"),
    "advice_cancelled": (
        "Stopped before its end: scores below are of the samples that are done. Resume asks for the rest.",
        "提前停止：下方分数只含已完成的样本。点“继续”可补齐其余样本。",
    ),
    "advice_interrupted": (
        "Nobody works on this run; the server ended before it did. What it has is kept. Resume goes on from there.",
        "该运行已无人执行：服务在它完成之前结束了。已有结果都在，点“继续”即可接着运行。",
    ),
    "advice_paused": ("Resume when there is room.", "腾出空间后点“继续”。"),
    "advice_failed": ("Mend this, then resume; what is done is kept.", "解决后点“继续”；已完成的部分都在。"),
    "advice_damaged": ("Delete it, or repair it there.", "可以删除它，或按提示修复。"),
    "run_and_more": ("and {n} more", "等另外 {n} 项"),
    "days": ("{n:.1f} days", "{n:.1f} 天"),
    "samples_per_second": ("{n:,.1f} samples/s", "{n:,.1f} 样本/秒"),
    "samples_per_minute": ("{n:,.1f} samples/min", "{n:,.1f} 样本/分"),
    "speed_unknown": ("measuring the speed", "正在测速"),
    "run_preparing": ("preparing", "准备中"),
    "samples_of": ("{done:,} of {total:,} samples", "{done:,} / {total:,} 个样本"),
    "time_left": ("{time} left", "剩余 {time}"),
    "run_progress": ("Progress", "进度"),
    "run_resume": ("Resume", "继续"),
    "run_delete": ("Delete", "删除"),
    "run_delete_question": ("Delete this run with all its results?", "删除这次运行及其全部结果？"),
    "run_delete_question_with": (
        "Delete this run with all its results, and {names}?", "删除这次运行及其全部结果，以及 {names}？",
    ),
    "run_delete_yes": ("Delete for good", "彻底删除"),
    "run_keep": ("Keep", "保留"),
    "run_note": ("Note", "备注"),
    "run_note_hint": ("What was this run for?", "这次运行是为了什么？"),
    "run_note_kept": ("The note is kept.", "备注已保存。"),
    "run_deleted": ("The run was deleted.", "运行已删除。"),
    "run_deleted_with": ("The run was deleted, and {names} with it.", "运行已删除，{names} 也一并删除。"),
    "run_resuming": ("Reading the tasks of this run.", "正在读取这次运行的任务。"),
    "run_resume_model": (
        "This run belongs to {wanted}. Load that above, then resume.",
        "这次运行属于 {wanted}。请先在上方加载它，再继续。",
    ),
    "run_needs_model": (
        "This run belongs to {wanted}, which is not loaded.",
        "这次运行属于 {wanted}，该模型目前没有加载。",
    ),
    "run_bring": ("Load it and resume", "加载后继续"),
    "run_bringing": ("Loading {wanted}: {percent} %", "正在加载 {wanted}：{percent}%"),
    "run_bring_busy": (
        "Another run is under way on the loaded model. Wait until it ends, or stop it.",
        "另一次运行正在使用已加载的模型。请等它结束，或先停止它。",
    ),
    "run_elsewhere": (
        "Another program of this machine works on this run. Stop it there.",
        "本机上的另一个程序正在执行这次运行，请在那里停止。",
    ),
    "run_is_gone": ("That run is no longer there.", "这次运行已不存在。"),
    "run_details": ("Last sample and log", "最近样本与日志"),
    "run_history": ("Runs", "运行记录"),
    "run_newer": ("Newer", "较新"),
    "run_older": ("Older", "较早"),
    "run_history_place": ("{first}–{last}", "第 {first}–{last} 条"),
}
