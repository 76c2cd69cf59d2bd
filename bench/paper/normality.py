"""Tests of a sample's normality, and how well other distributions fit it."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: Shapiro–Wilk's p is computed for no more values than this: of a larger sample, so many are drawn without repetition.
SHAPIRO_LIMIT = 5000

#: Normal samples that critical values of statistics with fitted mean and deviation come from.
DRAWS = 999

LEVEL = 0.05

#: Student's t of more degrees of freedom is a normal distribution.
NORMAL_FREEDOM = 1e4

Values = NDArray[np.float64]


def standardize(values: Values) -> Values:
    """Return values ``[..., n]`` along the last axis with mean 0 and deviation 1 (n - 1), ascending."""
    centred = values - values.mean(-1, keepdims=True)
    ordered: Values = np.sort(centred / centred.std(-1, ddof=1, keepdims=True), -1)
    return ordered


def lilliefors(ordered: Values) -> Values:
    """Return Kolmogorov and Smirnov's distance to the normal of standardized values ``[..., n]``."""
    n = ordered.shape[-1]
    below = stats.norm.cdf(ordered)
    steps = np.arange(n + 1) / n
    distance: Values = np.maximum(steps[1:] - below, below - steps[:-1]).max(-1)
    return distance


def anderson_darling(ordered: Values) -> Values:
    """Return Anderson and Darling's A² of standardized values ``[..., n]``."""
    n = ordered.shape[-1]
    weights = (2 * np.arange(1, n + 1) - 1) / n
    logs = stats.norm.logcdf(ordered) + stats.norm.logsf(ordered[..., ::-1])
    statistic: Values = -n - (weights * logs).sum(-1)
    return statistic


_STATISTICS = {"ks": lilliefors, "ad": anderson_darling}


@cache
def _null(n: int) -> dict[str, Values]:
    """Return statistics of :data:`DRAWS` normal samples of n values, ascending."""
    rng = np.random.default_rng(n)
    found: dict[str, list[float]] = {name: [] for name in _STATISTICS}
    for _ in range(DRAWS):
        ordered = standardize(rng.standard_normal(n))
        for name, statistic in _STATISTICS.items():
            found[name].append(float(statistic(ordered)))
    return {name: np.sort(values) for name, values in found.items()}


def simulated_p(name: str, statistic: float, n: int) -> float:
    """Return the share of normal samples whose statistic is as large, at least 1 / (DRAWS + 1)."""
    larger = DRAWS - int(np.searchsorted(_null(n)[name], statistic))
    return (1 + larger) / (1 + DRAWS)


def tests(values: Values) -> dict[str, float]:
    """Return moments and tests of a sample ``[n]``, n at least 20.

    Excess kurtosis and skewness with the standard errors they have under normality, statistic and p of Shapiro–Wilk,
    D'Agostino's K², Anderson–Darling and Kolmogorov–Smirnov. Mean and deviation are fitted: the last two have p by
    simulation, as Lilliefors' table.
    """
    n = len(values)
    skew_error = math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))
    kurtosis_error = 2 * skew_error * math.sqrt((n * n - 1) / ((n - 3) * (n + 5)))
    drawn = values if n <= SHAPIRO_LIMIT else np.random.default_rng(0).choice(values, SHAPIRO_LIMIT, replace=False)
    shapiro, omnibus = stats.shapiro(drawn), stats.normaltest(values)
    row = {
        "skewness": float(stats.skew(values, bias=False)),
        "skewness_error": skew_error,
        "excess_kurtosis": float(stats.kurtosis(values, bias=False)),
        "excess_kurtosis_error": kurtosis_error,
        "shapiro_n": len(drawn),
        "shapiro_w": float(shapiro.statistic),
        "shapiro_p": float(shapiro.pvalue),
        "dagostino_k2": float(omnibus.statistic),
        "dagostino_p": float(omnibus.pvalue),
    }
    ordered = standardize(values)
    for name, statistic in _STATISTICS.items():
        found = float(statistic(ordered))
        row |= {f"{name}_statistic": found, f"{name}_p": simulated_p(name, found, n)}
    return row


def rejection_shares(vectors: Values) -> dict[str, Any]:
    """Return shares of vectors ``[B, n]`` that tests reject at 5 %, and those that normal ones exceed once in 40."""
    count, n = vectors.shape
    if n < 20:
        return {}
    ordered = standardize(vectors)
    critical = {name: values[math.ceil((1 - LEVEL) * (DRAWS + 1)) - 1] for name, values in _null(n).items()}
    return {
        "vectors": count,
        "vectors_n": n,
        "vectors_shapiro": float(np.mean([stats.shapiro(vector).pvalue < LEVEL for vector in vectors])),
        "vectors_dagostino": float(np.mean(stats.normaltest(vectors, axis=1).pvalue < LEVEL)),
        "vectors_ad": float(np.mean(anderson_darling(ordered) > critical["ad"])),
        "vectors_ks": float(np.mean(lilliefors(ordered) > critical["ks"])),
        "vectors_by_chance": float(stats.binom.ppf(0.975, count, LEVEL)) / count,
    }


def alternatives(values: Values) -> dict[str, Any]:
    """Return log-likelihoods per value of fitted distributions, their AIC less the normal's, and the name of the least.

    Laplace (median and mean deviation), Student's t (location, scale, degrees of freedom by maximum likelihood) and the
    uniform over the sample's range.
    """
    n = len(values)
    freedom, place, scale = stats.t.fit(values, loc=values.mean(), scale=values.std())
    median = float(np.median(values))
    fitted: dict[str, tuple[Any, int]] = {
        "normal": (stats.norm(values.mean(), values.std()), 2),
        "laplace": (stats.laplace(median, float(np.abs(values - median).mean())), 2),
        "student_t": (stats.t(freedom, place, scale), 3),
        "uniform": (stats.uniform(values.min(), np.ptp(values)), 2),
    }
    logs = {name: float(law.logpdf(values).sum()) for name, (law, _) in fitted.items()}
    aic = {name: 2 * fitted[name][1] - 2 * value for name, value in logs.items()}
    row: dict[str, Any] = {"best_by_aic": min(aic, key=lambda name: aic[name]), "student_t_freedom": None}
    if freedom < NORMAL_FREEDOM:
        row["student_t_freedom"] = float(freedom)
    for name in fitted:
        row[f"{name}_log_likelihood"] = logs[name] / n
        row[f"{name}_aic"] = aic[name] - aic["normal"]
    return row
