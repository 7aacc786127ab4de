"""Scripts that are written without spaces between words. No third-party imports."""

# For a character class: Thai, Lao, Burmese, Khmer, Japanese kana, Chinese characters. Korean has spaces.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
