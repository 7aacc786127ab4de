"""Words of the Tune tab."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "tab_tune": ("Tune", "微调"),
    "tune_intro": (
        "Teach the model from your examples, watch it learn, and see whether it helped.",
        "用你的样本教模型，看着它学习，再看是否真的有用。",
    ),
    "no_tuning_yet": (
        "No training yet. Use the example data or add your own, look at the plan, press Start.",
        "还没有训练。先用示例数据或添加自己的数据，看看计划，再点“开始”。",
    ),
    # While it runs
    "steps_of": ("step {done:,} of {total:,}", "第 {done:,} / {total:,} 步"),
    "steps_per_second": ("{n:,.1f} steps/s", "{n:,.1f} 步/秒"),
    "steps_per_minute": ("{n:,.1f} steps/min", "{n:,.1f} 步/分"),
    "tune_advice_cancelled": (
        "Stopped before its end. What it learned so far is saved and can be used; Resume goes on from there.",
        "提前停止。已学到的部分已保存，可以直接使用；点“继续”可接着训练。",
    ),
    "tune_advice_interrupted": (
        "Nobody works on this run; the server ended before it did. Resume goes on from its last checkpoint.",
        "该训练已无人执行：服务在它完成之前结束了。点“继续”可从最近的检查点接着训练。",
    ),
    "tune_advice_failed": (
        "Mend this, then resume: it goes on from its last good checkpoint.",
        "解决后点“继续”：从最近一个完好的检查点接着训练。",
    ),
    "tune_stop_save": ("Stop and save", "停止并保存"),
    "tune_discard": ("Stop and discard", "停止并丢弃"),
    "tune_discard_question": (
        "Stop now and throw away all that this run has learned?",
        "立即停止，并丢弃这次训练学到的全部内容？",
    ),
    "tune_discard_yes": ("Discard", "丢弃"),
    "tune_discarded": ("The run was stopped; what it learned was thrown away.", "训练已停止，学到的内容已丢弃。"),
    "tune_phase_data": ("Reading the examples", "正在读取样本"),
    "tune_phase_model": ("Loading the model", "正在加载模型"),
    "tune_phase_writing": ("Writing the adapter", "正在写出适配器"),
    "tune_training_loss": ("training", "训练"),
    "tune_validation_loss": ("validation", "验证"),
    "tune_loss_axis": ("Loss in nats a token, over steps (↓ better)", "损失（每词元奈特）随步数变化（↓ 越低越好）"),
    "tune_training_loss_down": ("Training loss ↓", "训练损失 ↓"),
    "tune_validation_loss_down": ("Validation loss ↓", "验证损失 ↓"),
    "tune_best_at": ("best {best:.3g} at step {step:,}", "最佳 {best:.3g}（第 {step:,} 步）"),
    "tune_rate": ("Learning rate", "学习率"),
    "tune_norm": ("Gradient norm", "梯度范数"),
    "tune_speed": ("Tokens/s ↑", "词元/秒 ↑"),
    "tune_memory": ("Memory, peak", "内存峰值"),
    "tune_epoch": ("Epoch", "轮"),
    "tune_rising": ("The validation loss is rising.", "验证损失在上升。"),
    "tune_rising_since": (
        "The validation loss is rising: {best:.3g} at step {step:,}, {now:.3g} now. It begins to learn the examples by"
        " heart; the best checkpoint is kept.",
        "验证损失在上升：第 {step:,} 步为 {best:.3g}，现在为 {now:.3g}。模型开始死记样本；最佳检查点已保留。",
    ),
    "tune_note_batch_halved": ("Memory was short: the batch was halved.", "内存不足：批大小已减半。"),
    "tune_note_stopped_early": ("Stopped early.", "已早停。"),
    "tune_note_resumed": ("Resumed.", "已继续。"),
    "tune_log_saved": ("step {step:,}: checkpoint saved", "第 {step:,} 步：检查点已保存"),
    "tune_log_best": ("step {step:,}: checkpoint saved, the best so far", "第 {step:,} 步：检查点已保存，目前最佳"),
    "tune_log_validation": ("step {step:,}: validation loss {loss:.4g}", "第 {step:,} 步：验证损失 {loss:.4g}"),
    "tune_came_to": ("validation loss {first:.3g} → {best:.3g}", "验证损失 {first:.3g} → {best:.3g}"),
    "tune_came_to_training": ("training loss {last:.3g}", "训练损失 {last:.3g}"),
    "tune_samples": ("What the model says after step {step:,}", "第 {step:,} 步之后模型的回答"),
    "tune_sample_prompt": ("Prompt", "提示"),
    "tune_sample_expected": ("Expected", "期望回答"),
    "tune_sample_before": ("After step {step:,}", "第 {step:,} 步时"),
    "tune_sample_now": ("Now, after step {step:,}", "现在，第 {step:,} 步"),
    # After it
    "tune_chat": ("Chat with it", "与它对话"),
    "tune_chat_ready": ("{title} answers in the chat now.", "{title} 现在负责对话中的回答。"),
    "tune_chat_model": (
        "This run trained {model}. Load that above, then press again.",
        "这次训练的是 {model}。请先在上方加载它，再点一次。",
    ),
    "tune_chat_full": (
        "All weights were trained: {title} stands in the list of models above; load it there.",
        "这次训练了全部权重：{title} 已在上方的模型列表中，请在那里加载。",
    ),
    "tune_chat_public": (
        "This public page has one model for everybody. Download your adapter and use it on a machine of your own.",
        "公开页面的模型由所有人共用。请下载适配器，在自己的机器上使用。",
    ),
    "tune_no_result": (
        "This run has no result: it ended before its first checkpoint, or was thrown away.",
        "这次训练没有结果：它在首个检查点之前就结束了，或已被丢弃。",
    ),
    "tune_helped": ("Did it help?", "有用吗？"),
    "tune_helped_reading": ("Reading the questions for base and adapter.", "正在准备向基础模型与适配器提问。"),
    "tune_helped_running": ("Asking base and adapter the same questions", "正在向基础模型与适配器提出相同的问题"),
    "tune_helped_samples": ("Samples: fixed, broken, unchanged", "样本：变对、变错、未变"),
    "tune_press_again": ("Press the button again to go on.", "再次点击按钮即可继续。"),
    "tune_on_target": ("What it was trained for", "训练的目标"),
    "tune_on_rest": ("What it may have forgotten", "可能遗忘的能力"),
    "tune_left_out": (
        "{n:,} held-back examples could not be asked: they hold no whole answer within the cut-off length.",
        "{n:,} 个留出样本无法提问：截断长度之内没有完整的回答。",
    ),
    "tune_form": ("Form", "格式"),
    "tune_form_adapter": ("Adapter (PEFT folder)", "适配器（PEFT 文件夹）"),
    "tune_form_merged_bf16": ("Merged model, bf16 safetensors", "合并后的模型，bf16 safetensors"),
    "tune_form_merged_fp32": ("Merged model, fp32 safetensors", "合并后的模型，fp32 safetensors"),
    "tune_form_gguf_f16": ("Merged model, GGUF f16", "合并后的模型，GGUF f16"),
    "tune_form_gguf_q8_0": ("Merged model, GGUF q8_0", "合并后的模型，GGUF q8_0"),
    "tune_form_gguf_f32": ("Merged model, GGUF f32", "合并后的模型，GGUF f32"),
    "tune_forms_too_large": (
        "Forms larger than the {n} MB that you may keep on this public page are not offered. Take the adapter; on a"
        " machine of your own it can be merged and exported.",
        "超过本公开页面保留上限（{n} MB）的格式不提供。请下载适配器，在自己的机器上合并和导出。",
    ),
    "tune_export": ("Merge and export", "合并并导出"),
    "tune_exporting": ("Writing the merged model", "正在写出合并后的模型"),
    "tune_exported": (
        "Written: {title}, {size}. It stands in the list of models above.",
        "已写出：{title}，{size}。它已在上方的模型列表中。",
    ),
    "tune_exported_public": ("Written: {title}, {size}. Download it below.", "已写出：{title}，{size}。可在下方下载。"),
    "tune_export_gone": ("{title} is no longer there. Export it again.", "{title} 已不存在，请重新导出。"),
    "tune_nothing_exported": ("There is no finished export to download.", "没有已完成的导出可供下载。"),
    "tune_fetch": ("Prepare download", "准备下载"),
    "tune_discarding": ("Stopping; what it learned is thrown away.", "正在停止，学到的内容将被丢弃。"),
    # Two runs
    "tune_overlay": ("Lay another run over this one", "与另一次训练叠加比较"),
    "tune_overlay_with": ("The other run", "另一次训练"),
    "tune_overlay_needs_two": ("There is no other training run yet.", "还没有其他训练。"),
    "tune_overlay_training": ("{run} training", "{run} 训练"),
    "tune_overlay_validation": ("{run} validation", "{run} 验证"),
    "tune_differences": ("Settings that differ", "不同的设置"),
    "tune_same_settings": ("Both runs have the same settings.", "两次训练的设置相同。"),
    "tune_setting": ("Setting", "设置"),
    "tune_non_defaults": ("Settings that are not the default", "与默认值不同的设置"),
    "tune_all_defaults": ("All settings are at their defaults.", "所有设置都是默认值。"),
    # Settings
    "tune_model": ("Base model", "基础模型"),
    "tune_model_help": (
        "What is trained: embedded, a folder, a .gguf file, or a hub name that is on this machine.",
        "训练的对象：embedded、文件夹、.gguf 文件，或本机已有的 hub 名称。",
    ),
    "tune_no_model": ("Choose a base model.", "请选择基础模型。"),
    "tune_name": ("Name of the adapter", "适配器名称"),
    "tune_name_help": (
        "Under which it stands in the list of adapters; empty: a name is made.",
        "在适配器列表中的名称；留空则自动命名。",
    ),
    # Search
    "search_loss": ("Validation loss ↓", "验证损失 ↓"),
    "search_steps": ("Steps", "步数"),
    "search_time": ("Time", "用时"),
    "search_state": ("State", "状态"),
    "search_pruned": ("stopped early", "提前终止"),
    "search_cut": ("out of time", "时间用尽"),
    "search_show": ("Show", "查看"),
    "search_more": ("{n} more trials", "再试 {n} 组"),
    "search_all_tried": (
        "All {n} settings of its space were tried.", "搜索空间里的 {n} 组设置都已试过。",
    ),
    "search_title": ("Search for good settings", "搜索合适的设置"),
    "search_about": (
        "Trains with one setting after the other, on the data and with the other settings above, and ranks them by"
        " their validation loss. Those that lose are stopped early.",
        "用上方的数据和其余设置，逐一试训不同的设置，按验证损失排名；明显落后的会提前终止。",
    ),
    "search_public": (
        "A search takes hours; start Proofbench on a machine of your own for it.",
        "搜索耗时较长，请在自己的机器上运行 Proofbench。",
    ),
    "search_start": ("Start the search", "开始搜索"),
    "search_example": (
        "such as learning_rate=1e-5..1e-3:log\nand rank=8,16,32", "例如 learning_rate=1e-5..1e-3:log\n和 rank=8,16,32",
    ),
    "search_none": ("No search yet. Say which options to try above.", "还没有搜索。请在上方填写要尝试的选项。"),
    "search_advice_cancelled": (
        "Stopped before its end. Resume tries what is left.", "提前停止。点“继续”可尝试剩余的设置。",
    ),
    "trials_of": ("trial {done:,} of at most {total:,}", "第 {done:,} 次试验，最多 {total:,} 次"),
    "trials_per_second": ("{n:,.1f} trials/s", "{n:,.1f} 次/秒"),
    "trials_per_minute": ("{n:,.1f} trials/min", "{n:,.1f} 次/分"),
    # Before the start
    "tune_no_data": ("Add data first, or use the example data.", "请先添加数据，或使用示例数据。"),
    "plan_busy": (
        "Your last change is still being looked at. Change something again in a moment.",
        "上一次更改仍在检查中，请稍后再改动一次。",
    ),
    "tune_starting": ("Putting the run in line.", "正在加入队列。"),
    "tune_public": (
        "This public page trains LoRA adapters of at most {n} steps, for at most {minutes} minutes, and keeps nothing:"
        " after a restart all runs are gone. Please download your adapter when it is done.",
        "公开页面只训练不超过 {n} 步、{minutes} 分钟的 LoRA 适配器，且不做持久保存：重启后所有运行都会消失。"
        "请在完成后下载适配器。",
    ),
}
