"""How many votes show a preference."""

from statistics import NormalDist

RATES = (0.55, 0.60, 0.65)
"""The shares of votes for which tables say what would show them."""


def votes_needed(rate: float, power: float = 0.8, level: float = 0.05) -> int:
    """How many independent votes a two-sided test against one half needs.

    By the normal approximation of the binomial test of one proportion (Fleiss, Levin and Paik, Statistical Methods for
    Rates and Proportions, 3rd edition, section 2.4), without its correction for continuity. Votes of one rater or on
    one prompt are not independent, so it is a lower bound.

    >>> [votes_needed(rate) for rate in RATES]
    [783, 194, 85]

    Args:
        rate: The true share, above 0.5.
        power: The probability of showing it.
        level: Of the test.
    """
    normal = NormalDist()
    spread = normal.inv_cdf(1 - level / 2) / 2 + normal.inv_cdf(power) * (rate * (1 - rate)) ** 0.5
    exact = (spread / (rate - 0.5)) ** 2
    return int(exact) + (exact > int(exact))
