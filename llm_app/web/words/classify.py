"""Words of the Classify tab: one text, the table, the start of runs."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "tab_classify": ("Classify", "分类"),
    "classify_intro": (
        "Sort texts into your labels: try one, run a table, or train a classifier on it and see whether it is better.",
        "把文本归入你的标签：先试一条，再跑整张表格，或在表格上训练分类器，看看是否更好。",
    ),
    "mode_classify_one": ("One text", "单条文本"),
    "mode_classify_table": ("A table", "表格"),
    "mode_classify_train": ("Train on my table", "用我的表格训练"),
    # Which classifier
    "classify_model": ("Classifier", "分类器"),
    "classify_model_help": (
        "The loaded chat model by prompt, or a trained classifier: one of yours, a folder, or a hub name.",
        "用已加载的对话模型按提示分类，或使用训练好的分类器：你训练的、文件夹或 hub 名称。",
    ),
    "classify_zero_shot": ("Zero-shot: the loaded model", "零样本：已加载的模型"),
    "classify_labels": ("Labels", "标签"),
    "classify_labels_help": (
        "One a line, or apart by commas. Empty: those of the table's true labels. A trained classifier has its own.",
        "每行一个，或用逗号分隔。留空：使用表格真实标签列中的标签。训练好的分类器自带标签。",
    ),
    "classify_labels_hint": ("for example: negative, positive", "例如：负面，正面"),
    "classify_prompt_fold": ("Zero-shot prompt", "零样本提示"),
    "classify_prompt_shown": ("As the model gets it", "模型实际收到的内容"),
    "classify_prompt_then": ("Scored after it", "在其后打分的词"),
    "classify_training_fold": ("Training", "训练"),
    "training_name_classifier": ("Name of the classifier", "分类器名称"),
    "training_name_help_classifier": (
        "Under which it stands in the list of classifiers; empty: a name is made.",
        "在分类器列表中的名称；留空则自动命名。",
    ),
    "training_base_classifier": ("Base", "基础模型"),
    "training_base_help_classifier": (
        "What encoder and lora begin from; empty: the encoder or the chat model that come with the program.",
        "encoder 与 lora 的起点；留空：程序自带的编码器或对话模型。",
    ),
    # One text
    "classify_text": ("Text", "文本"),
    "hint_classify_text": ("What is to be classified?", "要分类的文本"),
    "classify_pair": ("Second text (optional)", "第二段文本（可选）"),
    "hint_classify_pair": (
        "For pairs, such as a sentence and its paraphrase", "用于句对任务，例如句子及其复述",
    ),
    "classify_go": ("Classify", "分类"),
    "classify_working": ("Asking the classifier.", "正在分类。"),
    "classify_no_text": ("Write a text first.", "请先填写文本。"),
    "classify_no_labels": (
        "Give at least two labels on the right, such as negative, positive.",
        "请在右侧至少填写两个标签，例如：负面，正面。",
    ),
    "classify_too_long": (
        "One text has at most {n:,} characters here. Longer ones go into a table.",
        "这里一段文本最多 {n:,} 个字符，更长的请放进表格。",
    ),
    "classify_took": ("{ms:,.0f} ms", "{ms:,.0f} 毫秒"),
    "classify_cut": ("{n:,} tokens were too many and left out", "超长，省略了 {n:,} 个词元"),
    "classify_sums": ("Probabilities; they add up to 1.", "概率，总和为 1。"),
    "classify_each": (
        "Each label's probability by itself; ✓ from {threshold:g} on.", "各标签各自的概率；达到 {threshold:g} 记 ✓。",
    ),
    "classify_value": ("Value, on the scale of the training data.", "数值，与训练数据同一量纲。"),
    "classify_more_labels": ("The other {n:,} labels", "其余 {n:,} 个标签"),
    "classify_words": ("Which words decided", "哪些词起了决定作用"),
    "classify_by_leave_one_out": ("Leave out each word", "逐词遮去"),
    "classify_by_gradient": ("Gradient × input (encoders)", "梯度 × 输入（编码器）"),
    "classify_words_finding": ("Looking for the words that decided.", "正在查找起决定作用的词。"),
    "classify_words_progress": (
        "Looking for the words that decided: {done:,} of {total:,} texts.",
        "正在查找起决定作用的词：{done:,} / {total:,} 条。",
    ),
    "classify_words_key": (
        "Solid line: speaks for {label}; dotted: against it; the darker, the more.",
        "实线：支持“{label}”；虚线：反对；颜色越深，影响越大。",
    ),
    "classify_words_none": (
        "No word matters noticeably: each changes the log-odds by less than {least:g} nats.",
        "没有哪个词有明显影响：每个词对对数几率的改变都不到 {least:g} 奈特。",
    ),
    "classify_words_by": ("Which words decided:", "起决定作用的词："),
    "classify_words_value": (
        "Solid line: raises the value; dotted: lowers it. The darker, the more.",
        "实线：使数值升高；虚线：使数值降低。颜色越深，影响越大。",
    ),
    "classify_words_leave_one_out": (
        "Measured by what changes when the word is left out.", "以去掉该词后的变化来衡量。",
    ),
    "classify_words_gradient": (
        "Measured by the gradient at the word's embedding times that embedding.",
        "以该词嵌入处的梯度与嵌入的乘积来衡量。",
    ),
    "classify_word": ("Word", "词"),
    "classify_weight": ("Weight, nats", "权重（奈特）"),
    "classify_weights": ("The weights in figures", "权重数值"),
    # The table
    "table_title": ("Table", "表格"),
    "table_example": ("Use the example", "使用示例"),
    "table_bring": ("Upload or paste…", "上传或粘贴…"),
    "table_file": ("CSV, TSV, JSONL, JSON or Parquet", "CSV、TSV、JSONL、JSON 或 Parquet"),
    "table_paste": ("The table as text", "表格文本"),
    "table_paste_help": (
        "Paste it here, or mend what was uploaded; the first line names the columns.",
        "在这里粘贴，或修改上传的内容；第一行是列名。",
    ),
    "table_encoding": ("Encoding", "编码"),
    "table_separator": ("Separator", "分隔符"),
    "table_header": ("First line", "第一行"),
    "table_header_names": ("names the columns", "是列名"),
    "table_header_data": ("is data already", "就是数据"),
    "separator_comma": ("comma", "逗号"),
    "separator_semicolon": ("semicolon", "分号"),
    "separator_tab": ("tab", "制表符"),
    "separator_bar": ("vertical bar", "竖线"),
    "table_read": ("Read", "读取"),
    "table_text_column": ("Text", "文本"),
    "table_pair_column": ("Second text", "第二段文本"),
    "table_truth_column": ("True label", "真实标签"),
    "table_kind": ("What the label is", "标签类型"),
    "kind_single": ("one of several", "单标签"),
    "kind_multi": ("any number of them", "多标签"),
    "kind_regression": ("a number", "数值"),
    "table_split": ("Labels of a row are apart by", "一行内多个标签的分隔符"),
    "table_drops": ("Leave out rows without a label", "忽略没有标签的行"),
    "table_about": ("{title}: {n:,} rows can be classified.", "{title}：{n:,} 行可以分类。"),
    "table_n_rows": ("{n:,} rows", "{n:,} 行"),
    "table_one_bad": ("1 problem", "1 处问题"),
    "table_n_bad": ("{n:,} problems", "{n:,} 处问题"),
    "table_labels": ("{n:,} labels:", "{n:,} 个标签："),
    "table_range": ("Values from {low:g} to {high:g}.", "数值范围 {low:g} 到 {high:g}。"),
    "table_duplicates": ("{n:,} rows stand there more than once.", "{n:,} 行重复出现。"),
    "table_unlabelled": (
        "{n:,} rows have no label: they can be classified, but are neither scored nor trained on.",
        "{n:,} 行没有标签：可以分类，但不参与评分和训练。",
    ),
    "table_bad_rows": ("Rows that cannot be used: {n:,}.", "无法使用的行：{n:,}。"),
    "table_mend": (
        "Mend them in the text above and press Read, or go on without them.",
        "可在上方文本中改正后点“读取”，也可以不管这些行继续。",
    ),
    "table_first": ("The first {n} rows", "前 {n} 行"),
    "table_too_large_to_edit": (
        "This table is too large to be mended here; mend the file and upload it again.",
        "表格太大，无法在此修改；请修改文件后重新上传。",
    ),
    "table_none": ("Upload or paste a table first, or use the example.", "请先上传或粘贴表格，或使用示例。"),
    "table_no_truth": (
        "Say which column holds the true label: a classifier learns from it.",
        "请指定真实标签所在的列：分类器要从中学习。",
    ),
    "table_gone": ("The table that lay here is gone. Bring it again.", "这里的表格已不存在，请重新添加。"),
    # Before the start
    "classify_plan_rows": ("Rows", "行数"),
    "classify_plan_scored": ("{n:,} with a true label", "{n:,} 行有真实标签"),
    "classify_plan_time": ("Time", "用时"),
    "classify_plan_measuring": ("measuring on a few rows", "正在用几行测速"),
    "classify_plan_measured": ("measured on {n} rows", "用 {n} 行实测"),
    "classify_plan_public": ("not measured on a public page", "公开页面不测速"),
    "classify_plan_no_rows": ("no row to measure it on", "没有可供测速的行"),
    "classify_plan_unmeasured": ("not measured: the machine is at work", "未测量：机器正忙"),
    "classify_plan_with": ("Classifier", "分类器"),
    "classify_plan_labels": ("{n:,} labels", "{n:,} 个标签"),
    "classify_plan_labels_table": ("{n:,} labels, those of the table", "{n:,} 个标签，取自表格"),
    "classify_plan_value": ("a number", "数值"),
    "classify_start": ("Classify", "开始分类"),
    "classify_train_start": ("Train", "开始训练"),
    "classify_train_about": (
        "Learns from {title}: {n:,} rows with a label. Part of them is held back for validation and test; majority"
        " and TF-IDF are trained on the same rows, as the bar to beat.",
        "从 {title} 学习：{n:,} 行有标签，其中一部分留作验证和测试。同样的行上还会训练多数类与 TF-IDF，作为要超过的"
        "基线。",
    ),
    "scored_rows_fold": ("Test rows of their own", "单独的测试行"),
    "scored_rows_file": ("A file with the same columns", "列相同的文件"),
    "scored_rows_about": (
        "{title}: {n:,} rows with a label, for the scores alone. Then no share of the table is held back for a test.",
        "{title}：{n:,} 行有标签，只用于评分。此时不再从表格中留出测试部分。",
    ),
    "scored_rows_drop": ("Without it", "不使用它"),
    "classify_search_about": (
        "Trains on this table with one setting after the other, the rest as it stands in the options, and ranks them by"
        " their score on the validation rows. The test rows take no part in it: the best is scored on them at the end."
        " Those that lose are stopped early.",
        "在这张表格上逐一试训不同的设置（其余设置以选项中的为准），按验证行上的得分排名；测试行不参与选择，最后只用来给最好的一组"
        "打分。明显落后的会提前终止。",
    ),
    "classify_search_example": (
        "such as learning_rate=1e-5..1e-3:log\nand batch_size=16,32",
        "例如 learning_rate=1e-5..1e-3:log\n和 batch_size=16,32",
    ),
    "search_chosen_test": (
        "The best setting, scored on the test rows. It was chosen on the validation rows; the test rows chose nothing.",
        "最好的设置在测试行上的得分。它是按验证行选出的，测试行没有参与选择。",
    ),
    "search_chosen_validation": (
        "There are no test rows: these are the validation rows that the setting was chosen on, and its scores flatter.",
        "没有测试行：这里就是用来选择设置的验证行，因此得分偏乐观。",
    ),
    "classify_train_none": (
        "Bring a table with true labels under “A table” first.", "请先在“表格”中添加带真实标签的表格。",
    ),
    "classify_public_trains": (
        "This public page trains small classifiers only (lstm or tfidf), for at most {minutes} minutes, and keeps"
        " nothing: after a restart all runs are gone. Please download your classifier when it is done.",
        "公开页面只训练小型分类器（lstm 或 tfidf），最多 {minutes} 分钟，且不做持久保存：重启后所有运行都会消失。"
        "请在完成后下载分类器。",
    ),
    "classify_train_public": (
        "Training takes a machine of your own: start Proofbench there.", "训练请在自己的机器上运行 Proofbench。",
    ),
    "no_classifying_yet": (
        "No run yet. Progress and results stand here as soon as one is started.",
        "还没有运行。开始后，进度和结果会显示在这里。",
    ),
    "rows_of": ("{done:,} of {total:,}", "{done:,} / {total:,}"),
    "rows_per_second": ("{n:,.1f}/s", "{n:,.1f} /秒"),
    "rows_per_minute": ("{n:,.1f}/min", "{n:,.1f} /分"),
    "classify_advice_cancelled": (
        "Stopped before its end; what is done stays. Resume goes on from there.",
        "提前停止，已完成的部分都在。点“继续”即可接着进行。",
    ),
}
