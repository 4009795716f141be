"""Several models on one market's later accounts: how well each ranks them and how near its PDs are to the truth."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

FloatArray = NDArray[np.float64]
SMALLEST_PD = 1e-12


@dataclass(frozen=True)
class Measures:
    """A model on n accounts: losses in nats an account; ``difference``: log loss less the reference's, paired, with its
    standard error; AUC with its own (DeLong et al. 1988)."""

    log_loss: float
    difference: float
    difference_error: float
    auc: float
    auc_error: float
    brier: float
    mean_pd: float


def measure(defaulted: NDArray[np.bool_], pds: FloatArray, reference: FloatArray) -> Measures:
    """Measure PDs, and compare them with reference PDs of the same accounts; both classes must be there."""
    losses = row_losses(defaulted, pds)
    differences = losses - row_losses(defaulted, reference)
    auc, auc_error = auc_with_error(defaulted, pds)
    return Measures(
        log_loss=float(losses.mean()),
        difference=float(differences.mean()),
        difference_error=float(differences.std(ddof=1) / np.sqrt(len(differences))),
        auc=auc,
        auc_error=auc_error,
        brier=float(((pds - defaulted) ** 2).mean()),
        mean_pd=float(pds.mean()),
    )


def row_losses(defaulted: NDArray[np.bool_], pds: FloatArray) -> FloatArray:
    """Log loss of each account, in nats."""
    bounded = np.clip(pds, SMALLEST_PD, 1 - SMALLEST_PD)
    losses: FloatArray = -np.where(defaulted, np.log(bounded), np.log1p(-bounded))
    return losses


def auc_with_error(defaulted: NDArray[np.bool_], pds: FloatArray) -> tuple[float, float]:
    """Area under the ROC curve, ties counted half, with its standard error (DeLong et al. 1988).

    >>> auc, error = auc_with_error(np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8]))
    >>> auc
    0.75
    """
    bad, good = pds[defaulted], pds[~defaulted]
    ranks = _ranks(np.concatenate([bad, good]))
    goods_below = (ranks[: len(bad)] - _ranks(bad)) / len(good)
    bads_above = 1 - (ranks[len(bad) :] - _ranks(good)) / len(bad)
    variance = goods_below.var(ddof=1) / len(bad) + bads_above.var(ddof=1) / len(good)
    return float(goods_below.mean()), float(np.sqrt(variance))


def _ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1; equal values share their mean rank."""
    return np.asarray(pandas.Series(values).rank(), dtype=np.float64)


def comparison_table(
    market: str, defaulted: NDArray[np.bool_], reference: str, pds: Mapping[str, FloatArray | None]
) -> Table:
    """Lay out the models, a row each, compared with the reference among them; None: no PDs and no numbers."""
    n, rate = len(defaulted), float(defaulted.mean())
    error = np.sqrt(rate * (1 - rate) / n)
    title = f"{market}: {n:,} later accounts, {int(defaulted.sum()):,} defaulted = {rate:.1%} ± {error:.1%}"
    table = Table(
        title=title, caption=_CAPTION, title_justify="left", caption_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("model", no_wrap=True)
    for heading in ("log loss", f"against {reference}", "AUC", "Brier", "mean PD"):
        table.add_column(heading, justify="right", no_wrap=True)
    base = pds[reference]
    assert base is not None
    for name, found in pds.items():
        table.add_row(name, *([] if found is None else _cells(measure(defaulted, found, base), name == reference)))
    return table


_CAPTION = "log loss, Brier: lower is better; ±: one standard error, of paired differences"


def _cells(found: Measures, is_reference: bool) -> list[str]:
    against = "" if is_reference else f"{found.difference:+.4f} ± {found.difference_error:.4f}"
    auc = f"{found.auc:.3f} ± {found.auc_error:.3f}"
    return [f"{found.log_loss:.4f}", against, auc, f"{found.brier:.4f}", f"{found.mean_pd:.1%}"]
