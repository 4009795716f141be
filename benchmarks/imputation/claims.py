"""What was to be shown of fills and draws, and whether the cells show it."""

from collections.abc import Mapping
from typing import Any

import pandas

from benchmarks.imputation.methods import METHODS

TITLES = {
    "credit": "Credit, 23 numbers",
    "credit_one_hot": "Credit, one-hot",
    "spam": "Spam",
    "letter": "Letter",
}
PAPER = {"credit": 0.1858, "spam": 0.0513, "letter": 0.1198}
REFERENCE = {"credit": 0.135, "credit_one_hot": 0.227, "spam": 0.053, "letter": 0.124}
SEED_NOISE = 2.0  # standard deviations over seeds
NORMAL_MAD = 1.4826  # what makes a normal sample's median absolute deviation its standard deviation
ROUNDING = 0.002  # of the reference's figures, one seed each


def claims_of(main: pandas.DataFrame) -> list[str]:
    """Of the cells of the paper's protocol, table by table."""
    found = []
    for table, title in TITLES.items():
        own = main[main["table"] == table]
        if own.empty:
            continue
        means = own.groupby("method")["rmse"].mean()
        if "gain_reference" in means:
            found.append(_reference(own[own["method"] == "gain_reference"], table, title))
        if "conditional" in means:
            found += _ours(own, means, table, title)
    return found


def has_collapsed(runs: pandas.DataFrame) -> "pandas.Series[bool]":
    """By run: did a column collapse, as far as somebody looked?"""
    if "collapsed" not in runs:
        return pandas.Series(False, index=runs.index)
    return runs["collapsed"].map(lambda names: isinstance(names, list) and len(names) > 0).astype(bool)


def _reference(runs: pandas.DataFrame, table: str, title: str) -> str:
    """Is the published method here what it is there? By the noise of seeds without collapse.

    One collapsed seed widens a standard deviation so far that anything would lie within two of them; it is kept out of
    the noise, and both means are held against it. Where every seed has a collapsed column, as with dozens of flags, the
    median is judged, and its noise by the median absolute deviation, which one wild seed moves little.
    """
    runs = runs[runs["rmse"].notna()]
    errors, whole = runs["rmse"], runs[~has_collapsed(runs)]["rmse"]
    asked = REFERENCE[table]
    is_whole = not whole.empty
    judged = whole.mean() if is_whole else errors.median()
    if is_whole:
        spread = whole.std(ddof=1) if len(whole) > 1 else 0.0
        which = f"over {len(whole)} seeds without a collapsed column"
    else:
        spread = NORMAL_MAD * (errors - judged).abs().median()
        which = f"the median of {len(errors)} seeds, each with a collapsed column"
    noise = max(SEED_NOISE * spread, ROUNDING)
    near = bool(abs(judged - asked) <= noise)
    every = abs(errors.mean() - asked) <= noise
    text = (
        f"{title}: GAIN as the authors' program is the reference's {asked:.3f} within seed noise: {judged:.4f} {which}"
    )
    text += (
        f", {_within(near)} {noise:.4f} of it; over all {len(runs)} mean {errors.mean():.4f}, {_within(bool(every))}"
    )
    return said(near, f"{text}, median {errors.median():.4f}")


def _within(is_near: bool) -> str:
    return "within" if is_near else "not within"


def _ours(own: pandas.DataFrame, means: "pandas.Series[float]", table: str, title: str) -> list[str]:
    ours = means["conditional"]
    groups = {name: METHODS[name].group for name in means.index}
    chained = [(means[name], name) for name in means.index if groups[name] == "chained"]
    gans = own[own["method"].map(METHODS.__getitem__).map(lambda method: method.group) == "gan"]
    found = []
    if table.startswith("credit") and chained:
        least, name = min(chained)
        best = f"{METHODS[name].title}, {least:.4f}"
        text = f"{title}: conditional {ours:.4f}, within 5 % of the best chained ({best}): {ours / least - 1:+.1%}"
        found.append(said(ours <= 1.05 * least, text))
    if not gans.empty:
        least = gans["rmse"].min()  # the best seed: a mean would be the better for our sake where one collapsed
        found.append(said(ours < least, f"{title}: conditional {ours:.4f}, below every GAN's (best seed {least:.4f})"))
    rivals = own[~own["method"].str.startswith("conditional")].groupby("method")[["crps", "coverage"]].mean()
    crps = own[own["method"] == "conditional"]["crps"].mean()
    cover = own[own["method"] == "conditional"]["coverage"].mean()
    best_crps = rivals["crps"].min()
    found.append(said(crps < best_crps, f"{title}: CRPS of its draws {crps:.4f}, best rival's {best_crps:.4f}"))
    nearest = (rivals["coverage"] - 0.9).abs().min()
    text = f"{title}: coverage {cover:.1%}, {abs(cover - 0.9):.1%} from 90 %; nearest rival {nearest:.1%}"
    return [*found, said(abs(cover - 0.9) <= nearest, text)]


def speed_claims(speed: Mapping[str, Any]) -> list[str]:
    if not speed:
        return []
    ratio, one = speed["many"]["boosting"] / speed["many"]["conditional"], speed["one"]["conditional"]
    return [
        said(one < 1e-3, f"one row filled in {1e3 * one:.2f} ms (under 1 asked)"),
        said(ratio >= 50, f"100,000 rows {ratio:.0f} times faster than chained histogram boosting (50 asked)"),
    ]


def said(reached: bool, text: str) -> str:
    return f"REACHED: {text}" if reached else f"**NOT REACHED: {text}**"
