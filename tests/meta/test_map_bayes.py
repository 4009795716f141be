"""Hierarchical Bayes: Newton's steps by hand, the mode against scipy, the meta-gradient against differences."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from meta.learners.map_bayes import EFFECTS, LEVEL_SD, MAX_LEAP, MapBayes
from meta.losses import binary_cross_entropy
from meta.nets import Ensemble
from meta.types import Episode, LabelledRows, Params
from tests.meta.conftest import N_FEATURES, draw_rows


@dataclass(frozen=True)
class Line:
    """A network of one weight a feature."""

    n_inputs: int

    def init(self, generator: torch.Generator) -> Params:
        return {"w": torch.zeros(self.n_inputs)}

    def forward(self, params: Params, x: Tensor) -> Tensor:
        return (x @ params["w"].unsqueeze(-1)).squeeze(-1)

    def readout(self, outputs: Tensor) -> Tensor:
        return outputs

    @property
    def head(self) -> tuple[str, ...]:
        return ("w",)

    @property
    def n_represented(self) -> int:
        return self.n_inputs

    def represent(self, params: Params, x: Tensor) -> Tensor:
        return x


def line_learner(inner_steps: int, slope_sd: list[float], scale_sd: float = 0.0, **prior) -> tuple[MapBayes, Params]:
    """A linear learner at weight 0 in float64, with its prior."""
    learner = MapBayes(Line(len(slope_sd)), binary_cross_entropy, 1.0, inner_steps)
    theta = learner.start_from({"w": torch.zeros(len(slope_sd), dtype=torch.float64)}, torch.Generator())
    known = {"slope_sd": torch.tensor(slope_sd), "scale_sd": torch.tensor([scale_sd])}
    return learner, learner.informed_by(theta, known | prior)


def rows_of(x: list[list[float]], y: list[float], offset: float = 0.0) -> LabelledRows:
    features, labels = torch.tensor([x], dtype=torch.float64), torch.tensor([y], dtype=torch.float64)
    return LabelledRows.of(features, labels, offset=torch.full_like(labels, offset))


@pytest.mark.parametrize(("sd", "slope"), [(1.0, 2 / 3), (2.0, 4 / 3)])
def test_one_newton_step_by_hand(sd: float, slope: float) -> None:
    # x = 1 defaults, x = -1 does not; pd = 1/2. In units of sd = 1: pull 1/2 + 1/2, curvature 2 * 1/4 + 1, so 2/3;
    # sd = 2: pull 2, curvature 2 * 4 * 1/4 + 1 = 3, 2/3 of a unit of 2. The level's pulls cancel out.
    learner, theta = line_learner(1, [sd])
    adapted = learner.adapt(theta, rows_of([[1.0], [-1.0]], [1.0, 0.0]))
    assert adapted["slope"].item() == pytest.approx(slope)
    assert adapted["scale"].item() == 0.0
    assert adapted["shift"].item() == 0.0


def test_one_step_moves_no_row_by_more_than_the_longest_leap() -> None:
    # one row x = 1 that defaults at logit -10: the step points along (level 0.3, slope 3) and would move the row by
    # nearly 9.09 logits; cut to 2, the slope's part is 3 * 3 / 9.09 of that
    learner, theta = line_learner(1, [3.0])
    adapted = learner.adapt(theta, rows_of([[1.0]], [1.0], offset=-10.0))
    assert adapted["slope"].item() == pytest.approx(MAX_LEAP * 9.0 / (9.0 + LEVEL_SD**2), rel=1e-6)


def some_rows(n_rows: int, seed: int) -> LabelledRows:
    rows = draw_rows(1, n_rows, seed, torch.float64)
    offset = torch.linspace(-1.0, 0.5, n_rows, dtype=torch.float64).unsqueeze(0)
    mask = torch.ones_like(rows.y)
    mask[:, -3:] = 0.0
    return LabelledRows(rows.x, rows.y, mask, offset)


def test_the_mode_is_the_minimum_of_the_penalised_loss() -> None:
    network = Ensemble(N_FEATURES, (8,), n_members=2)
    learner = MapBayes(network, binary_cross_entropy, 1.0, 25)
    start = {n: v.double() for n, v in network.init(torch.Generator().manual_seed(0)).items()}
    slope_sd = torch.tensor([0.5, 0.0, 1.0, 0.2, 0.3, 2.0], dtype=torch.float64)
    center, logit_center = torch.linspace(-1.0, 1.0, N_FEATURES, dtype=torch.float64), 0.4
    prior = {"slope_sd": slope_sd, "center": center, "scale_sd": torch.tensor([0.7]).double()}
    theta = learner.informed_by(
        learner.start_from(start, torch.Generator()), prior | {"logit_center": torch.tensor([logit_center])}
    )
    rows = some_rows(30, seed=1)
    logits = network.readout(network.forward(start, rows.x))[0].numpy()
    x, y, mask, offset = (t[0].numpy() for t in (rows.x, rows.y, rows.mask, rows.offset))
    free = np.array([0, 2, 3, 4, 5])
    along = np.concatenate(
        [np.ones((30, 1)), (logits - np.float64(np.float32(logit_center)))[:, None], (x - center.numpy())[:, free]], 1
    )
    sds = np.r_[LEVEL_SD, 0.7, slope_sd.numpy()[free]]
    sds[1] = np.float64(np.float32(0.7))

    def unlikeliness(effects: np.ndarray) -> float:
        moved = logits + offset + along @ effects
        return ((np.logaddexp(0.0, moved) - y * moved) * mask).sum() + 0.5 * ((effects / sds) ** 2).sum()

    expected = minimize(unlikeliness, np.zeros(len(sds)), method="BFGS", options={"gtol": 1e-8}).x
    adapted = learner.adapt(theta, rows)
    assert adapted["scale"].item() == pytest.approx(expected[1], abs=1e-5)
    np.testing.assert_allclose(adapted["slope"][0].numpy()[free], expected[2:], atol=1e-5)
    assert adapted["slope"][0, 1].item() == 0.0


def test_without_spread_nothing_moves() -> None:
    learner, theta = line_learner(6, [0.0, 0.0], scale_sd=0.0)
    rows = rows_of([[1.0, 2.0], [-1.0, 3.0], [0.5, 0.0]], [1.0, 0.0, 1.0])
    adapted, at_rest = learner.adapt(theta, rows), learner.at_rest(theta)
    for name, value in at_rest.items():
        assert torch.equal(adapted[name][0], value), name


def test_an_input_without_spread_has_no_slope_however_telling_it_is() -> None:
    learner, theta = line_learner(6, [0.0, 0.5])
    rows = rows_of([[9.0, 1.0], [-9.0, 1.0], [9.0, -1.0], [-9.0, -1.0]], [1.0, 0.0, 1.0, 0.0])
    slope = learner.adapt(theta, rows)["slope"][0]
    assert slope[0] == 0.0
    assert slope[1].abs() < 1e-9


def test_the_shift_centres_every_effect(episode: Episode) -> None:
    network = Ensemble(N_FEATURES, (8,), n_members=2)
    learner = MapBayes(network, binary_cross_entropy, 1.0, 6)
    center, logit_center = torch.linspace(-1.0, 1.0, N_FEATURES), torch.tensor([0.4])
    theta = learner.informed_by(
        learner.init(torch.Generator().manual_seed(0)), {"center": center, "logit_center": logit_center}
    )
    adapted = learner.adapt(theta, episode.support)
    weights = {n: v for n, v in adapted.items() if n not in EFFECTS}
    x = episode.query.x
    plain = network.readout(network.forward(weights, x))
    tilt = ((x - center) * adapted["slope"].unsqueeze(1)).sum(-1)
    expected = plain + adapted["scale"] * (plain - logit_center) + tilt
    torch.testing.assert_close(learner.predict(adapted, x), expected, rtol=1e-4, atol=1e-5)
    assert adapted["shift"].abs().min() > 0


def test_it_takes_in_spreads_and_leaves_the_network_alone() -> None:
    learner = MapBayes(Ensemble(3, (4,), n_members=2), binary_cross_entropy, 1.0, 2)
    theta = learner.init(torch.Generator().manual_seed(0))
    known = {"slope_sd": torch.tensor([0.1, 0.0, 0.3], dtype=torch.float64), "scale_sd": torch.tensor([0.25])}
    informed = learner.informed_by(theta, known)
    assert set(informed) == set(theta)
    assert {name for name in theta if informed[name] is not theta[name]} == {"prior.slope_sd", "prior.scale_sd"}
    assert informed["prior.slope_sd"].dtype == torch.float32
    torch.testing.assert_close(informed["prior.slope_sd"], torch.tensor([0.1, 0.0, 0.3]))


def test_padding_and_other_tasks_change_nothing(network: Ensemble, episode: Episode) -> None:
    learner = MapBayes(network, binary_cross_entropy, 1.0, 6)
    theta = learner.init(torch.Generator().manual_seed(0))
    rows = episode.support
    padded = LabelledRows(
        torch.cat([rows.x, torch.full((4, 5, N_FEATURES), 9.0)], 1),
        torch.cat([rows.y, torch.ones(4, 5)], 1),
        torch.cat([rows.mask, torch.zeros(4, 5)], 1),
        torch.cat([rows.offset, torch.zeros(4, 5)], 1),
    )
    together, masked = learner.adapt(theta, rows), learner.adapt(theta, padded)
    for task in range(4):
        alone = learner.adapt(theta, LabelledRows.of(rows.x[task : task + 1], rows.y[task : task + 1]))
        for name in EFFECTS:
            torch.testing.assert_close(together[name][task], alone[name][0], rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(together[name][task], masked[name][task], rtol=1e-4, atol=1e-6)


def test_the_level_that_moves_while_effects_are_sought_is_not_kept() -> None:
    # all default, whatever x: a matter of the level alone, which is everybody's
    learner, theta = line_learner(6, [0.5])
    adapted = learner.adapt(theta, rows_of([[1.0], [-1.0]] * 5, [1.0] * 10))
    assert adapted["slope"].abs().item() < 1e-9
    assert adapted["shift"].abs().item() < 1e-9


def test_the_meta_gradient_matches_finite_differences_and_spares_the_prior() -> None:
    network = Ensemble(N_FEATURES, (5,), n_members=2)
    learner = MapBayes(network, binary_cross_entropy, 1.0, 3)
    theta = {name: value.double() for name, value in learner.init(torch.Generator().manual_seed(3)).items()}
    theta = learner.informed_by(theta, {"slope_sd": torch.tensor([0.5, 0.0, 0.3, 0.2, 1.0, 0.4])})
    episode = Episode(draw_rows(3, 8, 4, torch.float64), draw_rows(3, 9, 5, torch.float64))
    found = learner.outer_grad(theta, episode).gradient
    step = 1e-6
    for name, value in theta.items():
        if name.startswith("prior."):
            assert torch.count_nonzero(found[name]) == 0, name
            continue
        index = tuple(size // 2 for size in value.shape)
        moved = []
        for sign in (1, -1):
            nudged = {n: v.clone() for n, v in theta.items()}
            nudged[name][index] += sign * step
            moved.append(learner.outer_grad(nudged, episode).loss.item())
        assert found[name][index].item() == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-4, abs=1e-8), name


def test_more_evidence_carries_further(episode: Episode) -> None:
    learner, theta = line_learner(8, [0.3])
    x, y = [[1.0], [-1.0]], [1.0, 0.0]
    slopes = [learner.adapt(theta, rows_of(x * n, y * n))["slope"].item() for n in (1, 4, 16)]
    assert 0 < slopes[0] < slopes[1] < slopes[2]
    still = replace(learner, inner_steps=0)
    assert torch.count_nonzero(still.adapt(theta, rows_of(x, y))["slope"]) == 0
