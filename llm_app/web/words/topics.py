"""Words of the topics of a table."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "mode_classify_topics": ("Topics", "主题"),
    "topics_title": ("Topics of the table", "表格的主题"),
    "topics_encoder": ("Encoder", "编码器"),
    "topics_encoder_help": (
        "What turns texts into vectors: a folder or a hub name; empty: the English one that comes with the program.",
        "把文本变成向量的模型：文件夹或 hub 名称；留空：程序自带的英文编码器。",
    ),
    "topics_encoder_public": (
        "A public page has its own encoder only. Leave the field empty.", "公开页面只能使用自带的编码器，请留空。",
    ),
    "topics_find": ("Find topics", "寻找主题"),
    "topics_save": ("Save CSV", "保存 CSV"),
    "topics_empty": (
        "What are these texts about? Bring a table under “A table” and press Find topics, or use the example.",
        "这些文本在谈什么？请在“表格”中添加表格并点“寻找主题”，或使用示例。",
    ),
    "topics_no_table": (
        "Bring a table under “A table” first, or use the example.", "请先在“表格”中添加表格，或使用示例。",
    ),
    "topics_too_many": (
        "{n:,} texts; at most {most:,} are grouped here. Larger tables: classify topics on the command line.",
        "共 {n:,} 条文本；这里最多分组 {most:,} 条。更大的表格请用命令行 classify topics。",
    ),
    "topics_reading": ("Opening the encoder.", "正在打开编码器。"),
    "topics_embedding": ("{done:,} of {n:,} texts", "{done:,} / {n:,} 条文本"),
    "topics_clustering": ("Grouping {n:,} texts.", "正在给 {n:,} 条文本分组。"),
    "topics_trying": (
        "Grouping {texts:,} texts: {done} of {n} numbers of topics are tried.",
        "正在给 {texts:,} 条文本分组：已尝试 {n} 种主题数中的 {done} 种。",
    ),
    "topics_placing": (
        "Placing {texts:,} texts on the map, in one piece that cannot be stopped.",
        "正在把 {texts:,} 条文本放到平面图上，此步一次完成，中途不能停止。",
    ),
    "topics_stopped": ("Stopped.", "已停止。"),
    # What was found
    "topics_found": ("{n:,} topics in {texts:,} texts of {title}", "{title} 的 {texts:,} 条文本中有 {n:,} 个主题"),
    "topics_none": ("{n:,} texts belong to none", "{n:,} 条不属于任何主题"),
    "topics_cut": ("{n:,} texts were too long and lost their end", "{n:,} 条过长，末尾被截去"),
    "topics_map": ("Map: texts that say like things lie close together", "平面图：内容相近的文本彼此靠近"),
    "topics_keys": (
        "Point to a mark, or go through them with the arrow keys, to read its text.",
        "指向某个标记，或用方向键逐个移动，即可阅读该文本。",
    ),
    "topics_drawn": ("{n:,} of {whole:,} texts are drawn", "画出了 {whole:,} 条中的 {n:,} 条"),
    "topics_explained": ("the map shows {share:.0%} of the variance", "此图显示了 {share:.0%} 的方差"),
    "topics_chosen": (
        "{n} topics have the best silhouette ↑, {best:.2f}, of {low} to {high} tried",
        "在尝试的 {low} 到 {high} 个主题中，{n} 个的轮廓系数 ↑ 最高（{best:.2f}）",
    ),
    "topics_silhouette": ("silhouette ↑ {value:.2f}", "轮廓系数 ↑ {value:.2f}"),
    "topics_size": ("{n:,} texts, {share}", "{n:,} 条，占 {share}"),
    "topics_no_words": ("No key words: its texts have numbers or signs only.", "没有关键词：其中只有数字或符号。"),
    "topics_examples": ("Nearest to its centre, with their lines", "离中心最近的文本及其行号"),
}
