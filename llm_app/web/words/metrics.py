"""What each metric measures, in a sentence, and its formula with room for a run's numbers."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "metric_acc": (
        "Accuracy: the share of samples whose answer, among choices the most likely one, is the target.",
        "准确率：答案（有选项时取概率最高的一项）与标准答案一致的样本所占的比例。",
    ),
    "metric_acc_norm": (
        "Accuracy after each choice's log-probability is divided by its length in characters, so that long choices are"
        " not at a disadvantage.",
        "先用每个选项的字符数去除它的对数概率，再取最大者计算准确率，避免长选项吃亏。",
    ),
    "metric_acc_bytes": (
        "Accuracy after each choice's log-probability is divided by its length in bytes.",
        "先用每个选项的字节数去除它的对数概率，再计算准确率。",
    ),
    "metric_acc_mutual": (
        "Accuracy after the log-probability that each choice has without its question is taken away.",
        "先减去没有题目时各选项自身的对数概率，再计算准确率。",
    ),
    "metric_exact_match": (
        "The share of samples whose extracted answer is the target, letter for letter.",
        "提取出的答案与标准答案逐字相同的样本所占的比例。",
    ),
    "metric_contains": ("The share of outputs that contain the target.", "输出中包含标准答案的样本所占的比例。"),
    "metric_word_perplexity": (
        "Perplexity a word: how many equally likely words the model hesitates between, on average. Comparable between"
        " tokenizers.",
        "按词计算的困惑度：模型平均在多少个同样可能的词之间犹豫。不同分词器之间可以比较。",
    ),
    "metric_byte_perplexity": (
        "Perplexity a byte of UTF-8. Comparable between tokenizers.",
        "按 UTF-8 字节计算的困惑度。不同分词器之间可以比较。",
    ),
    "metric_token_perplexity": (
        "Perplexity a token. Comparable only between models of one tokenizer.",
        "按词元计算的困惑度。只能在使用同一分词器的模型之间比较。",
    ),
    "metric_perplexity": (
        "Perplexity: how many equally likely continuations the model hesitates between, on average.",
        "困惑度：模型平均在多少个同样可能的后续之间犹豫。",
    ),
    "metric_bits_per_byte": (
        "Bits that the model needs for each byte of the text; a good compressor needs few.",
        "模型编码文本每个字节所需的比特数；压缩得越好，数值越低。",
    ),
    "metric_f1": (
        "F1: the harmonic mean of precision P and recall R, 2PR / (P + R).",
        "F1：精确率 P 与召回率 R 的调和平均，2PR / (P + R)。",
    ),
    "metric_mcc": (
        "Matthews correlation between the labels and the answers: (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN));"
        " 1 is perfect, 0 is guessing.",
        "马修斯相关系数：(TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN))；1 为完全正确，0 相当于随机猜测。",
    ),
    "metric_bleu": (
        "BLEU: brevity penalty × geometric mean of the precisions of 1- to 4-grams over the whole corpus, 0 to 100.",
        "BLEU：长度惩罚 × 整个语料上 1 至 4 元组精确率的几何平均，取值 0 到 100。",
    ),
    "metric_chrf": (
        "chrF: F-score of character n-grams, recall counted twice as much as precision, from 0 to 100.",
        "chrF：字符 n 元组的 F 值，召回率的权重是精确率的两倍，取值 0 到 100。",
    ),
    "metric_ter": (
        "TER: edits needed to turn the output into the reference, for each 100 words of the reference.",
        "TER：把输出改成参考译文所需的编辑次数，按参考译文每 100 个词计。",
    ),
    "metric_rouge": (
        "ROUGE: overlap of the output with the reference, in words, pairs of words, or the longest common sequence.",
        "ROUGE：输出与参考文本的重合程度，按词、相邻词对或最长公共子序列计算。",
    ),
    "metric_brier": (
        "Brier score: mean squared distance of the choices' probabilities from the right answer; 0 is perfect.",
        "Brier 分数：各选项概率与正确答案之间的均方距离；0 为完美。",
    ),
    "metric_pass": (
        "pass@k: the share of problems for which at least one of k programs passes all tests.",
        "pass@k：k 个程序中至少有一个通过全部测试的题目所占的比例。",
    ),
    "metric_correlation": (
        "Correlation of the given numbers with the true ones; 1 is perfect, 0 is guessing.",
        "给出的数值与真实数值的相关系数；1 为完美，0 相当于随机猜测。",
    ),
    "metric_group": (
        "The mean over the tasks of this group, as the harness weights them.",
        "该组各任务得分的平均，权重与评测框架一致。",
    ),
    "metric_other": (
        "A score of the task's own, taken over all its samples as the task defines it.",
        "任务自定义的指标，按任务的定义对全部样本计算。",
    ),
    "formula_share": ("{right:,} right / {n:,} samples = {value}", "{right:,} 条正确 / {n:,} 条样本 = {value}"),
    "formula_perplexity": (
        "exp(−mean log-probability) = exp({nats}) = {value}",
        "exp(−平均对数概率) = exp({nats}) = {value}",
    ),
    "formula_bits": (
        "−mean log-probability a byte / ln 2 = {nats} / 0.6931 = {value}",
        "−每字节平均对数概率 / ln 2 = {nats} / 0.6931 = {value}",
    ),
    "formula_stderr": (
        "standard error = √({value} × (1 − {value}) / {n:,}) = {stderr}",
        "标准误 = √({value} × (1 − {value}) / {n:,}) = {stderr}",
    ),
    "formula_stderr_is": ("standard error {stderr}", "标准误 {stderr}"),
}
