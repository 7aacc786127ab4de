"""Words of what came of classifying: rows, scores, confusion, calibration, comparison, training."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "result_view_rows": ("Rows", "行"),
    "result_view_scores": ("Scores", "分数"),
    "result_view_confusion": ("Confusion", "混淆矩阵"),
    "result_view_calibration": ("Calibration", "校准"),
    "result_view_versus": ("Compare", "比较"),
    # While it runs
    "classify_so_far": (
        "{figure} {share:.3f} [{low:.3f}, {high:.3f}]", "{figure} {share:.3f} [{low:.3f}, {high:.3f}]",
    ),
    "classify_so_far_partial": (
        "right so far, of the longest texts first: {share:.1%} [{low:.1%}, {high:.1%}]",
        "目前（先处理最长的文本）正确 {share:.1%} [{low:.1%}, {high:.1%}]",
    ),
    "classify_n_failed": ("Rows that could not be classified: {n:,}.", "{n:,} 行未能分类。"),
    "classify_last_rows": ("The last rows", "最近的行"),
    # Rows
    "rows_show": ("Show", "显示"),
    "order_all": ("All", "全部"),
    "order_errors": ("Errors only", "只看错误"),
    "order_confident_errors": ("Most confident errors", "最自信的错误"),
    "order_least_confident": ("Least confident", "最不确定"),
    "rows_text": ("Text", "文本"),
    "rows_answer": ("Answer", "预测"),
    "rows_truth": ("True", "真实"),
    "rows_range": ("Rows {first:,} to {last:,} of {n:,}", "第 {first:,}–{last:,} 行，共 {n:,} 行"),
    "rows_none": ("No row is like this.", "没有符合条件的行。"),
    "rows_of_cell": ("True label: {truth} · answer: {answer}", "真实标签：{truth} · 预测：{answer}"),
    "rows_all_again": ("Show all", "显示全部"),
    "rows_unclassified": ("not classified: {reason}", "未分类：{reason}"),
    "rows_cut": ("{n:,} tokens left out", "省略 {n:,} 个词元"),
    "rows_csv": ("Prepare CSV", "准备 CSV"),
    "rows_export": ("Prepare classifier (ZIP)", "准备分类器（ZIP）"),
    "rows_right": ("right", "正确"),
    "rows_wrong": ("wrong", "错误"),
    # Scores
    "scores_head": ("{title}: {n:,} rows with a true label", "{title}：{n:,} 行有真实标签"),
    "scores_no_truth": (
        "No column holds the true labels, so there is nothing to score. Choose one above and classify again.",
        "没有指定真实标签列，无法评分。请在上方选择该列后重新分类。",
    ),
    "scores_nothing_yet": ("No row has been classified yet.", "还没有已分类的行。"),
    "scores_when_over": ("Scores stand here when the run is over.", "运行结束后，这里会显示分数。"),
    "scores_classifier": ("Classifier", "分类器"),
    "scores_about": (
        "All classifiers that were run on these rows, the shown one first; with 95 % intervals.",
        "在这些行上运行过的全部分类器，当前的排在最前；括号内为 95% 置信区间。",
    ),
    "scores_bars": ("Baselines are the bar to beat.", "基线是要超过的底线。"),
    "scores_few_rows": (
        "There are no baselines: they need {least:,} scored rows.", "没有基线：至少需要 {least:,} 行有分数的数据。",
    ),
    "scores_many_rows": (
        "There are no baselines here: of more than {most:,} rows they take long. The command line learns them with"
        " --baselines.",
        "此处没有基线：超过 {most:,} 行时耗时较长。可在命令行用 --baselines 计算。",
    ),
    "scores_one_truth": (
        "There are no baselines: all scored rows have the same true label.", "没有基线：有分数的各行真实标签都相同。",
    ),
    "scores_unlearned": (
        "There are no baselines: the texts hold no words that could be counted, or too few of them differ.",
        "没有基线：文本中没有可统计的词，或彼此不同的文本太少。",
    ),
    "scores_partial": (
        "{done:,} of {total:,} rows, of the longest texts first", "{total:,} 行中的 {done:,} 行（先处理最长的文本）",
    ),
    "scores_other_rows": (
        "on {n:,} rows, of which {shared:,} are among those of the first line",
        "{n:,} 行，其中 {shared:,} 行与首行相同",
    ),
    "scores_learned": (
        "{title} learned from {n:,} of the table's rows, or was chosen by them: its figures flatter.",
        "表格中有 {n:,} 行曾用于训练或挑选 {title}：其得分偏高。",
    ),
    "scores_one_answer": (
        "{title} gave the same answer to every row, {label}: it does not tell these rows apart.",
        "{title} 对每一行的回答都是“{label}”：它没有把这些行区分开。",
    ),
    # What a classifier is called
    "method_zero_shot": ("zero-shot", "零样本"),
    "zero_shot_examples": ("{n} examples", "{n} 个示例"),
    "zero_shot_calibrated": ("calibrated", "已校准"),
    "zero_shot_length": ("by label length", "按标签长度平均"),
    "zero_shot_template": ("other template", "其他模板"),
    "zero_shot_words": ("other label words", "其他标签词"),
    "scores_by_class": ("By label", "按标签"),
    "scores_all": ("All figures of {title}", "{title} 的全部指标"),
    "scores_label": ("Label", "标签"),
    "scores_support": ("Rows", "行数"),
    "scores_precision": ("Precision ↑", "精确率 ↑"),
    "scores_recall": ("Recall ↑", "召回率 ↑"),
    "scores_f1": ("F1 ↑", "F1 ↑"),
    "figure_accuracy": ("Accuracy ↑", "准确率 ↑"),
    "figure_mcc": ("MCC ↑", "MCC ↑"),
    "figure_macro_f1": ("Macro F1 ↑", "宏平均 F1 ↑"),
    "figure_micro_f1": ("Micro F1 ↑", "微平均 F1 ↑"),
    "figure_weighted_f1": ("Weighted F1 ↑", "加权 F1 ↑"),
    "figure_macro_precision": ("Macro precision ↑", "宏平均精确率 ↑"),
    "figure_micro_precision": ("Micro precision ↑", "微平均精确率 ↑"),
    "figure_weighted_precision": ("Weighted precision ↑", "加权精确率 ↑"),
    "figure_macro_recall": ("Macro recall ↑", "宏平均召回率 ↑"),
    "figure_micro_recall": ("Micro recall ↑", "微平均召回率 ↑"),
    "figure_weighted_recall": ("Weighted recall ↑", "加权召回率 ↑"),
    "figure_roc_auc": ("ROC-AUC ↑", "ROC-AUC ↑"),
    "figure_log_loss": ("Log-loss ↓", "对数损失 ↓"),
    "figure_ece": ("Calibration error ↓", "校准误差 ↓"),
    "figure_subset_accuracy": ("Exact rows ↑", "整行准确率 ↑"),
    "figure_samples_f1": ("F1 by row ↑", "按行 F1 ↑"),
    "figure_hamming_loss": ("Hamming loss ↓", "汉明损失 ↓"),
    "figure_pearson": ("Pearson ↑", "Pearson ↑"),
    "figure_spearman": ("Spearman ↑", "Spearman ↑"),
    "figure_mae": ("Mean absolute error ↓", "平均绝对误差 ↓"),
    "figure_rmse": ("RMSE ↓", "RMSE ↓"),
    # Confusion
    "confusion_about": (
        "Rows by true label (down) and answer (across). Press a cell to read its rows.",
        "按真实标签（纵）与预测（横）统计的行数。点击格子可查看对应的行。",
    ),
    "confusion_true": ("true ↓ answer →", "真实 ↓ 预测 →"),
    "confusion_pairs": (
        "With {n:,} labels the matrix is too wide; these are the commonest mistakes. Press one to read its rows.",
        "共 {n:,} 个标签，矩阵过大；下面是最常见的错误。点击可查看对应的行。",
    ),
    "confusion_cell": (
        "True label: {truth} · answer: {answer} · {n:,} rows", "真实标签：{truth} · 预测：{answer} · {n:,} 行",
    ),
    "confusion_only_single": (
        "A confusion matrix needs one label a row and a column of true labels.",
        "混淆矩阵需要每行一个标签，并有真实标签列。",
    ),
    # Calibration
    "reliability_about": (
        "Of the rows with such a probability, so many are right; the diagonal is perfect. Lines with caps are 95 %"
        " intervals.",
        "概率为某值的那些行里，有多少是对的；对角线表示完全校准。带端线的线段是 95% 置信区间。",
    ),
    "reliability_none": (
        "Calibration needs one label a row, probabilities and true labels.", "校准需要单标签、概率和真实标签。",
    ),
    "reliability_before": ("As predicted", "预测的概率"),
    "reliability_after": ("After temperature {t:.2f}", "温度 {t:.2f} 之后"),
    "reliability_fitted": (
        "The temperature was fitted on one half of the rows, parted by their text; both curves are of the other half.",
        "温度用按文本划分的一半行拟合；两条曲线都来自另一半。",
    ),
    "reliability_trained": (
        "The temperature was fitted on the validation rows of its training and is part of the probabilities above.",
        "温度在训练时用验证集拟合，已包含在上面的概率中。",
    ),
    "reliability_untempered": ("Without its temperature {t:.2f}", "不含温度 {t:.2f}"),
    "reliability_tempered": ("With it", "含温度"),
    "reliability_ece": ("calibration error {ece:.3f}", "校准误差 {ece:.3f}"),
    "reliability_x": ("probability of the answer", "预测的概率"),
    "threshold_slider": ("Threshold", "阈值"),
    "threshold_about": (
        "From this probability on a row is given the label {label}.", "概率达到该值的行被判为“{label}”。",
    ),
    "threshold_best": (
        "Highest F1 on one half of the rows: at {at:.3f}; on the other half it comes to {f1:.3f}.",
        "在一半行上 F1 最高处为 {at:.3f}；在另一半上为 {f1:.3f}。",
    ),
    "threshold_rows": ("Rows given the label", "判为该标签的行数"),
    "threshold_accuracy": ("Accuracy ↑", "准确率 ↑"),
    # Comparison
    "versus_with": ("Compare with", "与之比较"),
    "versus_none": (
        "Nothing else was run on these rows yet. Classify the same table with another classifier.",
        "这些行上还没有别的分类器的结果。请用另一个分类器对同一张表格分类。",
    ),
    "versus_choose": (
        "Choose a classifier above: it is compared with the shown one, on the rows that both classified.",
        "请在上方选择一个分类器，在两者都分类过的行上与当前分类器比较。",
    ),
    "versus_about": (
        "{n:,} rows that both classified; the shown classifier against {title}. p-values are corrected over the metrics"
        " (Holm).",
        "{n:,} 行两者都已分类；当前分类器对比 {title}。p 值已按 Holm 方法对多个指标校正。",
    ),
    "versus_gone": (
        "That classifier is no longer among those to compare with. Choose again.", "该分类器已不可比较。请重新选择。",
    ),
    # Training
    "train_curve": ("Error on training and validation rows (↓ better)", "训练与验证行上的错误率（↓ 越低越好）"),
    "train_curve_on": (
        "Error on {n_training:,} training and {n_validation:,} validation rows (↓ better)",
        "{n_training:,} 行训练数据与 {n_validation:,} 行验证数据上的错误率（↓ 越低越好）",
    ),
    "train_no_gain_yet": ("no step beats the start", "没有任何一步超过起点"),
    "train_phase_data": ("Reading the data", "正在读取数据"),
    "train_phase_model": ("Loading the model that it begins from", "正在加载起始模型"),
    "train_phase_baselines": ("Learning the baselines", "正在训练基线"),
    "train_phase_first": ("Measuring before the first step", "正在测量训练前的表现"),
    "train_phase_writing": ("Writing and scoring what was learned", "正在写出并评分"),
    "train_method_encoder": ("Encoder (minutes)", "编码器（数分钟）"),
    "train_method_lora": ("LoRA head on the chat model (many minutes)", "对话模型上的 LoRA 分类头（较久）"),
    "train_method_lstm": ("LSTM (about a minute)", "LSTM（约一分钟）"),
    "train_method_tfidf": ("TF-IDF (seconds)", "TF-IDF（数秒）"),
    "train_method_features": ("Features of words (seconds)", "词特征（数秒）"),
    "train_error_training": ("training", "训练"),
    "train_error_validation": ("validation", "验证"),
    "train_error_test": ("test", "测试"),
    "train_loss_curve": ("Loss, over steps (↓ better)", "损失随步数变化（↓ 越低越好）"),
    "train_score_metric_accuracy": ("accuracy", "准确率"),
    "train_score_metric_macro_f1": ("macro F1", "宏平均 F1"),
    "train_score_metric_spearman": ("Spearman", "Spearman"),
    "train_validation_score": ("Validation {metric} ↑", "验证{metric} ↑"),
    "train_training_loss": ("Training loss ↓", "训练损失 ↓"),
    "train_method": ("Method", "方法"),
    "train_scored_on": ("on {n:,} rows of the {part} part", "{part}部分的 {n:,} 行"),
    "train_scored_chosen": (
        "These rows also chose weights and temperature, so that the scores flatter; a test share keeps some apart.",
        "这些行也用于选择权重和温度，因此得分偏高；设置测试集比例可另留一部分。",
    ),
    "part_test": ("test", "测试"),
    "part_validation": ("validation", "验证"),
    "method_encoder": ("encoder", "编码器"),
    "method_lora": ("LoRA head", "LoRA 分类头"),
    "method_lstm": ("LSTM", "LSTM"),
    "method_tfidf": ("TF-IDF + logistic regression", "TF-IDF + 逻辑回归"),
    "method_majority": ("majority label", "多数类"),
    "train_is_baseline": ("baseline", "基线"),
    "train_use": ("Use it", "使用它"),
    "train_used": ("{title} is chosen as the classifier.", "已选择 {title} 作为分类器。"),
    "train_no_result": (
        "This run has no classifier: it ended before its first checkpoint.",
        "这次训练没有分类器：它在首个检查点之前就结束了。",
    ),
}
