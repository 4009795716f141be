"""How markets differ: which inputs have slopes, the mode against scipy, the spread of simulated markets recovered."""

from dataclasses import replace

import numpy as np
import pandas
import pytest
from scipy.optimize import minimize

from meta.effects import (
    MAX_SLOPES,
    MISFIT,
    SD_RANGE,
    EffectsPrior,
    _Evidence,
    _groups,
    _marginal,
    _own_spreads,
    _thinned,
    learn_effects_prior,
    most_probable_effects,
)
from meta.episodes import Market
from meta.features import N_BINS, Encoder, fit_encoder
from meta.level import LevelPrior
from meta.types import Column
from tests.meta.toy import encode, sigmoid

NAMES = ("a", "b", "c", "d")
COLUMNS = tuple(Column(name, "numeric") for name in NAMES)


def test_slopes_are_for_numbers_and_common_states() -> None:
    columns = (Column("income", "numeric"), Column("flat", "numeric"), Column("job", "categorical", ("clerk", "rare")))
    # of 400 rows 20 lack an income and 1 the flat number; 299 are clerks, 100 nurses, 1 rare: 0.25 % is too few
    frame = pandas.DataFrame(
        {
            "income": [np.nan] * 20 + list(range(380)),
            "flat": [np.nan] + [7.0] * 399,
            "job": ["rare"] + ["nurse"] * 100 + ["clerk"] * 299,
        }
    )
    encoder = fit_encoder(columns, frame)
    x = encode(encoder, frame)
    prior = EffectsPrior.uninformed(encoder, x)
    kinds, owners = encoder.kind_of_slot[prior.slots], encoder.column_of_slot[prior.slots]
    # income's number and its absence, clerks and nurses; nothing of a flat column, a rare state or an empty one
    assert list(zip(kinds.tolist(), owners.tolist(), strict=True)) == [
        ("scaled", 0),
        ("absent", 0),
        ("category", 2),
        ("category", 2),
    ]
    np.testing.assert_allclose(prior.center, x[:, prior.slots].mean(axis=0), rtol=1e-6)
    assert prior.center[1:].tolist() == pytest.approx([0.05, 299 / 400, 0.25])


def test_only_the_widest_inputs_have_slopes_where_there_are_too_many() -> None:
    rng = np.random.default_rng(0)
    columns = tuple(Column(f"c{j}", "numeric") for j in range(MAX_SLOPES + 5))
    encoder = fit_encoder(columns, pandas.DataFrame({c.name: rng.normal(size=30) for c in columns}))
    x = np.zeros((40, encoder.n_features), dtype=np.float32)
    scaled = np.flatnonzero(encoder.kind_of_slot == "scaled")
    widths = np.linspace(2.0, 1.0, len(scaled))
    x[:, scaled] = rng.permutation(np.repeat([-1.0, 1.0], 20))[:, None] * widths
    assert EffectsPrior.uninformed(encoder, x).slots.tolist() == scaled[:MAX_SLOPES].tolist()


def test_directions_by_hand() -> None:
    prior = EffectsPrior(np.array([2, 0]), np.array([1.0, -1.0]), np.array([0.3, 0.4]), 0.2, logit_center=-2.0)
    x = np.array([[5.0, 6.0, 7.0]], dtype=np.float32)
    assert prior.directions(np.array([-1.5]), x).tolist() == [[0.5, 6.0, 6.0]]
    assert prior.sds.tolist() == [0.2, 0.3, 0.4]


def test_effects_that_share_a_spread() -> None:
    columns = (Column("a", "numeric"), Column("b", "numeric"), *(Column(n, "categorical") for n in ("job", "home")))
    rng = np.random.default_rng(0)
    words = {name: rng.choice([f"{name}1", f"{name}2", "none"], 300) for name in ("job", "home")}
    numbers = {name: np.where(rng.random(300) < 0.1, np.nan, rng.normal(size=300)) for name in ("a", "b")}
    frame = pandas.DataFrame(numbers | words).replace("none", None)
    encoder = fit_encoder(columns, frame)
    prior = EffectsPrior.uninformed(encoder, encode(encoder, frame))
    # level, scale; two numbers; their absences; job's two categories and its absence; home's likewise
    assert _groups(prior, encoder).tolist() == [-1, 0, 1, 1, 2, 2, 3, 3, 2, 4, 4, 2]


def test_the_mode_is_where_scipy_finds_it() -> None:
    rng = np.random.default_rng(1)
    along = np.concatenate([np.ones((60, 1)), rng.normal(size=(60, 3))], axis=1)
    y, offset = (rng.random(60) < 0.3).astype(float), rng.normal(-1.0, 0.5, 60)
    mean, sds = np.array([0.2, 0.0, -0.1, 0.3]), np.array([0.5, 0.3, 1.0, 0.2])

    def unlikeliness(effects: np.ndarray) -> float:
        logits = offset + along @ effects
        return (np.logaddexp(0.0, logits) - y * logits).sum() + 0.5 * (((effects - mean) / sds) ** 2).sum()

    expected = minimize(unlikeliness, mean, method="BFGS", options={"gtol": 1e-7}).x
    np.testing.assert_allclose(most_probable_effects(along, y, offset, mean, sds, n_steps=12), expected, atol=1e-5)
    far_off = most_probable_effects(along, y, offset, mean, sds, start=mean + 5 * sds, n_steps=30)
    np.testing.assert_allclose(far_off, expected, atol=1e-5)


def test_an_effect_without_spread_stays_at_its_mean() -> None:
    rng = np.random.default_rng(2)
    along, y = rng.normal(size=(50, 2)), (rng.random(50) < 0.5).astype(float)
    found = most_probable_effects(along, y, np.zeros(50), np.array([0.7, 0.0]), np.array([0.0, 1.0]))
    assert found[0] == 0.7
    assert found[1] != 0.0


def test_no_rows_leave_every_effect_at_its_mean() -> None:
    mean = np.array([0.1, -0.2])
    found = most_probable_effects(np.zeros((0, 2)), np.zeros(0), np.zeros(0), mean, np.array([0.3, 0.3]))
    assert found.tolist() == mean.tolist()


def quadratics(n_markets: int, k: int, seed: int) -> _Evidence:
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(n_markets, k, 2 * k))
    return _Evidence(roots @ roots.swapaxes(1, 2), rng.normal(0.0, 5.0, (n_markets, k)))


def test_the_marginal_likelihood_by_hand() -> None:
    # one effect, curvature 3, pull 2, sd 1, mean 0: -pull^2 / (2 (3 + 1)) + ln(3 + 1) / 2
    value, slope = _marginal(_Evidence(np.array([[[3.0]]]), np.array([[2.0]])), np.ones(1), np.zeros(1))
    assert value == pytest.approx(-0.5 + 0.5 * np.log(4.0))
    # E[effect^2] = (2 / 4)^2 + 1 / 4
    assert slope[0] == pytest.approx(1.0 - 0.5)


def test_the_marginal_likelihoods_slope_matches_finite_differences() -> None:
    evidence, mean = quadratics(3, 4, seed=0), np.array([0.3, 0.0, 0.0, -0.1])
    log_sds = np.log([0.3, 0.05, 0.2, 0.8])
    _, slope = _marginal(evidence, np.exp(log_sds), mean)
    for j in range(4):
        nudge = 1e-5 * np.eye(4)[j]
        up, down = (_marginal(evidence, np.exp(log_sds + sign * nudge), mean)[0] for sign in (1, -1))
        assert slope[j] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-7)


def test_own_spreads_are_drawn_towards_the_common_one() -> None:
    # markets that are known exactly (curvature 1e8), one free effect of +-1: own^2 = (10 * common^2 + 20 * 1) / 30
    signs = np.resize([1.0, -1.0], 20)
    evidence = _Evidence(np.full((20, 3, 3), 0.0) + 1e8 * np.eye(3), 1e8 * np.stack([0 * signs, 0 * signs, signs], 1))
    found = _own_spreads(evidence, np.array([0.3, 0.1, 0.1]), np.zeros(3), np.array([True]))
    assert found[:2].tolist() == [0.3, 0.1]
    assert found[2] == pytest.approx(np.sqrt((10 * 0.1**2 + 20) / 30), rel=1e-4)


def simulated(spread: float, seed: int) -> tuple[Encoder, EffectsPrior, list[Market]]:
    """30 markets of 1000 rows whose four coefficients (per robust standard deviation) are spread by ``spread``."""
    rng = np.random.default_rng(seed)
    frame = pandas.DataFrame(rng.normal(size=(30_000, 4)), columns=NAMES)
    encoder = fit_encoder(COLUMNS, frame)
    x = encode(encoder, frame)
    slots = np.flatnonzero(encoder.kind_of_slot == "scaled")
    shared = np.array([0.8, -0.6, 0.4, 0.0])
    markets = []
    for i in range(30):
        rows = x[i * 1000 : (i + 1) * 1000]
        logits = -1.5 + rows[:, slots] @ shared
        own = rng.normal(0.1, 0.3) + rows[:, slots] @ rng.normal(0.0, spread, 4)
        markets.append(Market(f"M{i}", rows, (rng.random(1000) < sigmoid(logits + own)).astype(float), logits))
    return encoder, EffectsPrior.uninformed(encoder, x), markets


@pytest.mark.parametrize("seed", [0, 1])
def test_the_spread_of_coefficients_is_recovered(seed: int) -> None:
    encoder, prior, markets = simulated(0.25, seed)
    found = learn_effects_prior(prior, encoder, markets, LevelPrior(mean=0.1, sd=0.3), jackknife_sd=0.07)
    assert len(found.slots) == 4
    assert encoder.kind_of_slot[found.slots].tolist() == ["scaled"] * 4
    assert 0.2 < np.sqrt(np.mean(found.slope_sd**2)) < 0.32
    assert ((found.slope_sd > 0.15) & (found.slope_sd < 0.4)).all()
    assert found.logit_center == pytest.approx(np.mean([m.logits.mean() for m in markets]))
    assert found.n_markets == 30
    moved = [(found.directions(m.logits, m.x) * found.sds).var(axis=0).sum() for m in markets]
    assert found.theta_sd == pytest.approx(np.sqrt(0.07**2 + MISFIT * np.mean(moved)))


def test_spreads_that_few_markets_tell_are_widened_for_a_new_one() -> None:
    prior = EffectsPrior(np.array([0]), np.array([0.0]), np.array([0.4]), 0.2, 0.0, n_markets=12)
    np.testing.assert_allclose(prior.likely_sds, [0.2 * np.sqrt(1.25), 0.4 * np.sqrt(1.25)])
    assert replace(prior, n_markets=0).likely_sds.tolist() == prior.sds.tolist()  # a theta that did not keep how many


def test_markets_that_do_not_differ_show_no_spread() -> None:
    encoder, prior, markets = simulated(0.0, seed=2)
    found = learn_effects_prior(prior, encoder, markets, LevelPrior(mean=0.1, sd=0.3), jackknife_sd=0.0)
    assert (found.slope_sd < 0.06).all()
    assert found.scale_sd < 0.1


def test_a_column_that_markets_differ_in_has_a_spread_of_its_own() -> None:
    encoder, prior, markets = simulated(0.0, seed=3)
    rng, slot = np.random.default_rng(4), prior.slots[3]
    swayed = []
    for market in markets:
        pd = sigmoid(market.logits + 0.1 + rng.normal(0.0, 0.5) * market.x[:, slot])
        swayed.append(replace(market, y=(rng.random(1000) < pd).astype(float)))
    found = learn_effects_prior(prior, encoder, swayed, LevelPrior(mean=0.1, sd=0.1), jackknife_sd=0.0)
    assert found.slope_sd.argmax() == 3
    assert found.slope_sd[3] > 2 * found.slope_sd[:3].max()


def test_spreads_stay_within_what_can_be_told() -> None:
    encoder, prior, markets = simulated(0.0, seed=5)
    found = learn_effects_prior(prior, encoder, markets[:1], LevelPrior(), jackknife_sd=0.0)
    assert np.isfinite(found.sds).all()
    assert (found.sds >= 0.5 * SD_RANGE[0]).all()
    assert (found.sds <= SD_RANGE[1]).all()


def test_bins_have_no_slopes() -> None:
    encoder, prior, _ = simulated(0.0, seed=6)
    assert len(encoder.kind_of_slot) == len(NAMES) * (N_BINS + 2)
    assert not (encoder.kind_of_slot[prior.slots] == "bin").any()


def test_a_giant_market_is_thinned_evenly_and_a_small_one_left_alone(monkeypatch) -> None:
    monkeypatch.setattr("meta.effects.MAX_ROWS", 3)
    rows = np.arange(7, dtype=np.float64)
    giant = Market("M", rows[:, None].astype(np.float32), rows % 2, rows)
    thin = _thinned(giant)
    assert thin.logits.tolist() == [0.0, 3.0, 6.0]
    assert thin.y.tolist() == [0.0, 1.0, 0.0]
    assert _thinned(thin) is thin
