"""How small a difference could these samples show, and how many would show a given one? Two-sided paired tests.

For right/wrong answers the discordance decides: the share of samples whose answer changed, either way. Two models that
agree nearly always need far fewer samples than two that often differ. Normal approximation throughout, so take the
figures for a few dozen samples as rough.
"""

import math

import scipy


def detectable_rate_difference(n: int, discordance: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest difference in accuracy that McNemar's test on n samples finds with this power.

    Infinite when even changes that all go one way would be missed (a difference cannot exceed the discordance).
    Source: Connor 1987, Biometrics 43:207, solved for the difference.
    """
    _check(n=n, discordance=discordance)
    z_alpha, z_beta = _quantiles(alpha, power)
    inner = n - z_alpha**2 + z_beta**2
    if inner < 0:
        return math.inf
    difference = math.sqrt(discordance) * (z_alpha * math.sqrt(n) + z_beta * math.sqrt(inner)) / (n + z_beta**2)
    return difference if difference <= discordance else math.inf


def samples_for_rate_difference(
    difference: float, discordance: float, *, alpha: float = 0.05, power: float = 0.8
) -> int:
    """How many samples McNemar's test needs to find this difference in accuracy with this power.

    Raises: ValueError if the difference exceeds the discordance, which it cannot.
    Source: Connor 1987, Biometrics 43:207.
    """
    _check(difference=difference, discordance=discordance)
    if abs(difference) > discordance:
        raise ValueError(f"A difference of {difference} needs at least as many changed answers, not {discordance}.")
    z_alpha, z_beta = _quantiles(alpha, power)
    root = z_alpha * math.sqrt(discordance) + z_beta * math.sqrt(discordance - difference**2)
    return math.ceil((root / difference) ** 2)


def detectable_difference(n: int, deviation: float, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest mean difference that a paired test on n samples finds; `deviation`: sd of the sample differences."""
    _check(n=n)
    return sum(_quantiles(alpha, power)) * deviation / math.sqrt(n)


def samples_for_difference(difference: float, deviation: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many samples a paired test needs to find this mean difference; `deviation`: sd of the sample differences."""
    _check(difference=difference)
    return max(2, math.ceil((sum(_quantiles(alpha, power)) * deviation / difference) ** 2))


def _quantiles(alpha: float, power: float) -> tuple[float, float]:
    if not (0 < alpha < 1 and 0.5 <= power < 1):
        raise ValueError(f"alpha lies between 0 and 1 and power between 0.5 and 1, not at {alpha} and {power}.")
    return float(scipy.stats.norm.ppf(1 - alpha / 2)), float(scipy.stats.norm.ppf(power))


def _check(*, n: int = 1, discordance: float = 1.0, difference: float = 1.0) -> None:
    if n < 1 or not 0 < discordance <= 1 or difference == 0:
        raise ValueError("Needs at least one sample, some changed answers, and a difference that is not zero.")
