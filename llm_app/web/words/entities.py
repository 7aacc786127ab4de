"""Words of named entities: bringing sentences, marking, scores, and what is wrong."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "mode_classify_entities": ("Entities", "实体"),
    "entities_title": ("Named entities", "命名实体"),
    "entities_tagger": ("Tagger", "标注器"),
    "entities_tagger_help": (
        "What finds the entities: a tagger that was trained here, a folder, or a hub name.",
        "用来识别实体的标注器：在这里训练的、文件夹或 hub 名称。",
    ),
    "entities_text": ("Text, or sentences in CoNLL format", "文本，或 CoNLL 格式的句子"),
    "entities_text_help": (
        "A sentence on each line; or a word and its tag on each, with blank lines between sentences.",
        "每行一个句子；或每行一个词及其标签，句子之间空一行。",
    ),
    "entities_upload": ("Upload a file", "上传文件"),
    "entities_file": (
        "CoNLL file, plain text, or a table with a column of texts", "CoNLL 文件、纯文本，或含文本列的表格",
    ),
    "entities_find": ("Find entities", "识别实体"),
    "entities_save": ("Save as CoNLL", "保存为 CoNLL"),
    "entities_working": ("Opening the tagger.", "正在打开标注器。"),
    "entities_progress": ("{done:,} of {n:,} sentences", "{done:,} / {n:,} 个句子"),
    "entities_no_text": (
        "Write a text, upload a file, or use the example.", "请填写文本、上传文件，或使用示例。",
    ),
    "entities_no_tagger": (
        "There is no tagger here yet. Use the example and press Train a tagger, or name a folder on the right.",
        "这里还没有标注器。可使用示例并点“训练标注器”，或在右侧填写文件夹。",
    ),
    "entities_no_tagger_public": (
        "There is no tagger on this page, and a public page trains none: on a machine of your own, this program does.",
        "本页面没有标注器，公开页面也不训练标注器；请在自己的电脑上运行本程序来训练。",
    ),
    "entities_too_many": (
        "{n:,} sentences; at most {most:,} are marked here. Longer files: classify entities find on the command line.",
        "共 {n:,} 个句子；这里最多标注 {most:,} 个。更长的文件请用命令行 classify entities find。",
    ),
    "entities_read": ("{title}: {n:,} sentences.", "{title}：{n:,} 个句子。"),
    "entities_read_tagged": (
        "{title}: {n:,} sentences with tags; types: {types}.", "{title}：{n:,} 个带标签的句子；类型：{types}。",
    ),
    "entities_bad_lines": ("{n:,} sentences could not be read, and why:", "{n:,} 个句子无法读取，原因如下："),
    # What was found
    "entities_found": ("{n:,} entities in {sentences:,} sentences", "{sentences:,} 个句子中有 {n:,} 个实体"),
    "entities_stopped": (
        "stopped: {n:,} of {whole:,} sentences (an encoder reads the longest first)",
        "已停止：{whole:,} 个句子中的 {n:,} 个（编码器先读最长的句子）",
    ),
    "entities_cut": ("{n:,} words were too many and not read", "超长，{n:,} 个词未读取"),
    "entities_unknown": ("{n:,} words are not in the vocabulary", "{n:,} 个词不在词表中"),
    "entities_more": (
        "{n:,} more sentences are in the file that Save gives.", "其余 {n:,} 个句子在保存的文件里。",
    ),
    "entities_list": ("The first {n:,} entities as a list", "以列表显示前 {n:,} 个实体"),
    "entities_entity": ("Entity", "实体"),
    "entities_type": ("Type", "类型"),
    "entities_probability": ("Probability", "概率"),
    # Scores
    "entities_scores": ("Span scores", "实体得分"),
    "entities_scores_about": (
        "Right is an entity whose type and both ends are right (strict, as seqeval counts); 95 % intervals by the"
        " bootstrap over {n:,} sentences. Of single tags {accuracy:.1%} are right.",
        "类型和首尾都正确才算对（与 seqeval 的严格计法一致）；95% 置信区间由 {n:,} 个句子自助法得出。单个标签的正确率为"
        " {accuracy:.1%}。",
    ),
    "entities_learned": (
        "{n:,} of these {whole:,} sentences are among those that the tagger learned from or was chosen by: the scores"
        " flatter.",
        "这 {whole:,} 个句子中有 {n:,} 个曾用于训练或挑选该标注器：得分偏高。",
    ),
    "entities_all_types": ("All types", "全部类型"),
    "entities_support": ("Entities", "实体数"),
    "entities_wrong": ("What is wrong", "错在哪里"),
    "entities_none_wrong": ("Every entity is as it should be.", "所有实体都正确。"),
    "entities_more_wrong": ("{n:,} more are wrong.", "另有 {n:,} 处错误。"),
    "entities_said": ("Found", "识别结果"),
    "fault_missed": ("missed", "漏标"),
    "fault_spurious": ("spurious", "多标"),
    "fault_type": ("wrong type", "类型错"),
    "fault_ends": ("wrong ends", "边界错"),
    # Training a tagger
    "tagger_fold": ("Training of a tagger", "训练标注器"),
    "training_name_tagger": ("Name of the tagger", "标注器名称"),
    "training_name_help_tagger": (
        "Under which it stands in the list of taggers; empty: a name is made.",
        "在标注器列表中的名称；留空则自动命名。",
    ),
    "training_base_tagger": ("Base", "基础模型"),
    "training_base_help_tagger": (
        "The encoder that is trained: a folder or a hub name; empty: the English one that comes with the program.",
        "要训练的编码器：文件夹或 hub 名称；留空：程序自带的英文编码器。",
    ),
    "tagger_train": ("Train a tagger", "训练标注器"),
    "tagger_no_tags": (
        "A tagger learns from sentences in CoNLL format: a word and its tag on each line. Use the example to see some.",
        "标注器要从 CoNLL 格式的句子学习：每行一个词及其标签。可点“使用示例”查看。",
    ),
    "tagger_use": ("Use this tagger", "使用这个标注器"),
    "tagger_used": (
        "{title} is chosen as the tagger; below, what it says of the sentences that it was tested on.",
        "已选择 {title} 作为标注器；下面是它在测试句子上的结果。",
    ),
    "method_features": ("features of words", "词特征"),
    "train_score_metric_span_f1": ("span F1", "实体 F1"),
    "figure_span_f1": ("Span F1 ↑", "实体 F1 ↑"),
    "figure_span_precision": ("Precision ↑", "精确率 ↑"),
    "figure_span_recall": ("Recall ↑", "召回率 ↑"),
    "figure_tag_accuracy": ("Tags right ↑", "标签正确率 ↑"),
}
