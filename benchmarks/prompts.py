"""Prompts of set lengths, the same for both sides."""

TOPICS = (
    "perplexity", "tides", "bread", "gravity", "chess", "rain", "the alphabet", "vaccines",
    "bridges", "volcanoes", "jazz", "rivers", "clocks", "bees", "glass", "maps",
    "comets", "paper", "salt", "sleep", "trees", "steel", "whales", "money",
    "lenses", "tea", "wind", "zero", "ice", "ants", "dams", "kites",
)  # fmt: skip
SENTENCE = "The bridge over the river was built by hand and it still carries carts, people and a little rain. "


def short_prompts() -> list[str]:
    """32 questions."""
    return [f"Explain in a few sentences what one should know about {topic}." for topic in TOPICS]


def paired_prompts(shift: int) -> list[str]:
    """32 questions about two topics each, other pairs for each shift from 1 to 31."""

    def turned(by: int) -> tuple[str, ...]:
        return (*TOPICS[by % 32 :], *TOPICS[: by % 32])

    pairs = zip(turned(5 * shift), turned(6 * shift), strict=True)
    return [f"Explain in a few sentences what one should know about {one} and {other}." for one, other in pairs]


def long_prompt(n_words: int = 900, about: str = "bridges") -> str:
    """A text of about 1,000 tokens and a question about it. `about`: its first words, so that no two begin alike."""
    text = SENTENCE * (n_words // len(SENTENCE.split()) + 1)
    return f"On {about}. " + " ".join(text.split()[:n_words]) + "\n\nSum this up in one sentence."
