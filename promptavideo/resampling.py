"""Intervals and p-values over prompts, resampled. scipy is imported where it is used, since planning needs none."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from promptavideo.seeds import derive
from promptavideo.settings import Section


class BootstrapConfig(Section):
    """How intervals and p-values are resampled."""

    resamples: int = Field(default=9999, ge=99, le=1_000_000)
    """Of each interval and p-value."""
    method: Literal["BCa", "percentile"] = "BCa"
    """Of intervals: bias-corrected and accelerated, or plain percentiles."""
    seed: int = Field(default=0, ge=0)
    """Of the draws."""


def bootstrap_interval(values: NDArray[np.float64], bootstrap: BootstrapConfig, prompts: str) -> tuple[float, float]:
    """95 % bootstrap interval of the mean (`scipy.stats.bootstrap`).

    Args:
        values: One value a prompt [P], in an order that does not depend on the input files.
        bootstrap: Resampling settings.
        prompts: Names the prompts, from which the seed is derived: whatever is measured of them, the same are drawn.

    Returns:
        The low and the high end; both NaN for fewer than two values or values without any spread.
    """
    return strata_interval([values], bootstrap, prompts)


def strata_interval(
    strata: Sequence[NDArray[np.float64]], bootstrap: BootstrapConfig, prompts: str
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of several groups' means; prompts are drawn within their group.

    Args:
        strata: By group one value a prompt [P of the group], each in an order that does not depend on the input files.
        bootstrap: Resampling settings.
        prompts: Names the prompts, see `bootstrap_interval`.

    Returns:
        The low and the high end; both NaN where a group has fewer than two values, or none has any spread.
    """
    from scipy import stats

    if min(map(len, strata), default=0) < 2 or all(np.ptp(values) < 1e-9 for values in strata):
        return float("nan"), float("nan")
    interval = stats.bootstrap(
        tuple(strata),
        _mean_of_means,
        vectorized=True,
        n_resamples=bootstrap.resamples,
        batch=1000,  # bounds the memory: 1000 resamples of P values at a time
        confidence_level=0.95,
        method=bootstrap.method,
        rng=np.random.default_rng(derive(bootstrap.seed, "interval", prompts)),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _mean_of_means(*strata: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    means: NDArray[np.float64] = np.mean([np.mean(values, axis=axis) for values in strata], axis=0)
    return means


def paired_p_value(differences: NDArray[np.float64], bootstrap: BootstrapConfig, prompts: str) -> float:
    """Two-sided p-value of a mean paired difference, by `scipy.stats.permutation_test` (sign flips within prompts).

    Chosen over the Wilcoxon test because it tests the very number that the table shows, the mean, keeps prompts whose
    difference is zero, and is exact as long as all sign patterns fit into `bootstrap.resamples`.

    Args:
        differences: One difference a prompt [P].
        bootstrap: Resampling settings.
        prompts: Names the prompts, from which the seed is derived.

    Returns:
        The p-value; NaN for fewer than two prompts.
    """
    from scipy import stats

    if len(differences) < 2:
        return float("nan")
    test = stats.permutation_test(
        (differences,),
        lambda sample, axis: np.mean(sample, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=bootstrap.resamples,
        batch=1000,
        rng=np.random.default_rng(derive(bootstrap.seed, "p-value", prompts)),
    )
    return float(test.pvalue)
