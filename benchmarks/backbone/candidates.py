"""What is tried, each a change of one thing from what is chosen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.backbone import boosting
from benchmarks.backbone.folds import Fold, Teaching
from benchmarks.backbone.networks import Additive, LastLayerHead, Periodic, WithoutLinear
from benchmarks.backbone.training import fit_network
from meta.features import Encoder
from meta.nets import Ensemble

FloatArray = NDArray[np.float64]
Answer = tuple[FloatArray, int]
Fit = Callable[[Fold, int], Answer]  # a fold and the seed of what is random in the fit
CHOSEN = "ensemble, as chosen"
WIDTHS, N_MEMBERS, DROPOUT, TEACHER_SHARE = (64, 64), 8, 0.2, 0.5


@dataclass(frozen=True)
class Network:
    """A network and how it is taught."""

    build: Callable[[Encoder], Any]
    teacher_share: float = TEACHER_SHARE
    teacher: Literal["teacher", "signed_teacher"] = "teacher"
    dropout: float = DROPOUT

    def __call__(self, fold: Fold, seed: int) -> Answer:
        y, taught = fold.learn.y, self.taught(fold)
        targets = y if taught is None else y + self.teacher_share * (taught.pds - y)
        return fit_network(self.build(fold.encoder), fold, targets, self.dropout, seed)

    def taught(self, fold: Fold) -> Teaching | None:
        """The teacher's PDs, made once a fold for all that learn from them; None where labels alone teach."""
        if self.teacher_share == 0.0:
            return None
        found: Teaching = getattr(fold, self.teacher)
        return found


def ensemble(
    widths: tuple[int, ...] = WIDTHS, n_members: int = N_MEMBERS, kind: type[Ensemble] = Ensemble
) -> Callable[[Encoder], Ensemble]:
    return lambda encoder: kind(encoder.n_features, widths, n_members)


CANDIDATES: dict[str, Fit] = {
    CHOSEN: Network(ensemble()),
    "histogram boosting": boosting.histogram_boosting,
    "histogram boosting, monotone": boosting.signed_boosting,
    "LightGBM": boosting.lightgbm,
    "ridge logistic, additive": boosting.ridge,
    "additive network": Network(lambda encoder: Additive.over(encoder)),
    "without teacher": Network(ensemble(), teacher_share=0.0),
    "teacher alone (share 1)": Network(ensemble(), teacher_share=1.0),
    "monotone teacher": Network(ensemble(), teacher="signed_teacher"),
    "without linear part": Network(ensemble(kind=WithoutLinear)),
    "head on last layer alone": Network(ensemble(kind=LastLayerHead)),
    "periodic encoding": Network(lambda encoder: Periodic.over(encoder, WIDTHS, N_MEMBERS)),
    "4 members": Network(ensemble(n_members=4)),
    "16 members": Network(ensemble(n_members=16)),
    "one hidden layer": Network(ensemble(widths=(64,))),
    "width 32": Network(ensemble(widths=(32, 32))),
    "width 128": Network(ensemble(widths=(128, 128))),
    "no dropout": Network(ensemble(), dropout=0.0),
}
