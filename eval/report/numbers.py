"""Numbers as they are read: as many digits as mean something, a real minus sign."""

from eval.compare.measure import Unit
from eval.report.rows import Row

MINUS = "\u2212"
DIGITS: dict[Unit, str] = {"percent": ".3f", "coefficient": ".3f", "hundred": ".1f", "plain": "#.4g"}


def score_text(value: float | None, unit: Unit) -> str:
    """0.650, −0.156, 31.71; a dash for what is no finite number."""
    if value is None:
        return "–"
    text = f"{value:{DIGITS[unit]}}".removesuffix(".")
    if unit == "plain" and 10_000 <= abs(value) < 1e9:
        text = f"{value:,.0f}"
    is_zero = not text.strip("-0.")
    return text.lstrip("-") if is_zero else text.replace("-", MINUS)


def interval_text(row: Row) -> str:
    """[0.433, 0.819], or nothing where there is none."""
    if row.low is None or row.high is None:
        return ""
    return f"[{score_text(row.low, row.unit)}, {score_text(row.high, row.unit)}]"
