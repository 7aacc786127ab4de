"""Words of the Chat tab's token view."""

from llm_app.options import Text

STRINGS: dict[str, Text] = {
    "mode_tokens": ("Token view", "词元视图"),
    "tokens_intro": (
        "How likely the model found each token, before sampling changed anything (temperature 1). Point at a token for"
        " what it would rather have said; choose one to go on from there.",
        "查看模型给每个词元的概率（采样之前，温度 1）。把指针移到词元上，看模型更想说什么；点选其一，从那里继续写。",
    ),
    "tokens_text": ("Text to score", "要评分的文本"),
    "tokens_text_hint": ("Any text, such as a sentence of your own…", "任意文本，例如你自己写的一句话……"),
    "tokens_score_text": ("Score this text", "给这段文本评分"),
    "tokens_score_reply": ("Score the last reply", "给最近的回复评分"),
    "tokens_colour": ("Colour by", "着色依据"),
    "by_probability": ("Probability", "概率"),
    "by_entropy": ("Entropy", "熵"),
    "tokens_none": (
        "Nothing is scored yet. Score the last reply of the conversation, or type a text of your own.",
        "还没有评分。可以给对话中最近的回复评分，也可以输入自己的文本。",
    ),
    "tokens_no_reply": (
        "The conversation has no reply yet. Ask something first, or type a text below.",
        "对话中还没有回复。请先提问，或在下方输入文本。",
    ),
    "tokens_of_reply": ("Last reply", "最近的回复"),
    "tokens_of_text": ("Your text", "你的文本"),
    "tokens_by": ("scored by {model}", "由 {model} 评分"),
    "tokens_count": ("{n:,} tokens", "{n:,} 个词元"),
    "tokens_perplexity": ("perplexity {n:,.4g}", "困惑度 {n:,.4g}"),
    "tokens_mean_entropy": ("mean entropy {n:.2f} bits", "平均熵 {n:.2f} 比特"),
    "tokens_cut": (
        "Only the first {n:,} tokens are shown; {left:,} more were not scored.",
        "只显示前 {n:,} 个词元，其余 {left:,} 个未评分。",
    ),
    "tokens_from_start": (
        "The first token is predicted from the start token {token} alone.",
        "第一个词元仅由起始词元 {token} 预测。",
    ),
    "tokens_pieces": (
        "The text is cut as the tokenizer cuts it; the model may have written it in other pieces.",
        "文本按分词器切分，模型当时写出的切分可能不同。",
    ),
    "tokens_bytes": (
        "⟨E4⟩ is a byte of a character that the next tokens complete.",
        "⟨E4⟩ 是某个字符的一个字节，由后面的词元补全。",
    ),
    "legend_probability": ("Probability of the token", "词元的概率"),
    "legend_entropy": ("Entropy before the token, over the whole vocabulary, in bits", "该位置上整个词表的熵（比特）"),
    "card_probability": ("probability", "概率"),
    "card_logprob": ("log-probability", "对数概率"),
    "card_entropy": ("entropy", "熵"),
    "card_rank": ("rank", "名次"),
    "card_alternatives": ("Likeliest here; choose one to go on from it", "此处概率最大的词元，点选即从它继续"),
    "card_end": ("the text ends here", "文本在此结束"),
    "tokens_outdated": (
        "These tokens are no longer the ones on the server. Score the text again.",
        "这些词元已过期，请重新评分。",
    ),
    "tokens_part": (
        "This token ends inside a character, and the model does not complete it. Choose another.",
        "该词元停在字符中间，模型没有把它补全，请选择别的词元。",
    ),
    "tokens_other_model": (
        "Another model or adapter was loaded since. Score the text again.",
        "之后换过模型或适配器，请重新评分。",
    ),
    "tokens_going_on": ("Going on from “{text}”", "从“{text}”继续"),
}
