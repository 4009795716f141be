"""Caution is learned where few rows would harm markets that do not differ, and not where markets do differ."""

from dataclasses import replace

import numpy as np

from meta.caution import MIN_JUDGED, STILL, _gains, learn_still
from meta.level import LevelPrior

PRIOR = LevelPrior(mean=0.0, sd=0.5)


def markets(levels: np.ndarray, n_rows: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    found = []
    for level in levels:
        logits = rng.normal(-1.5, 1.0, n_rows)
        found.append((logits, (rng.random(n_rows) < 1 / (1 + np.exp(-(logits + level)))).astype(float)))
    return found


def test_markets_that_do_not_differ_are_left_alone() -> None:
    chosen = learn_still(markets(np.zeros(12), 1200), PRIOR, seed=0)
    assert chosen.still >= 0.9
    assert replace(chosen, still=0.0) == PRIOR  # nothing else changes


def test_markets_that_all_differ_need_no_caution() -> None:
    levels = np.where(np.arange(12) % 2, 1.2, -1.2)
    assert learn_still(markets(levels, 1200), replace(PRIOR, sd=1.2), seed=0).still == 0.0


def test_markets_too_small_to_be_judged_teach_nothing() -> None:
    assert learn_still(markets(np.zeros(5), MIN_JUDGED + 4), PRIOR, seed=0) == PRIOR
    assert learn_still([], PRIOR, seed=0) == PRIOR


def test_the_more_caution_the_less_moves() -> None:
    ((logits, y),) = markets(np.array([1.0]), 1200)
    gains = np.mean(list(_gains(logits, y, 50, PRIOR, [0])), axis=0)
    assert gains.shape == (len(STILL),)
    assert (np.diff(gains) < 0).all()  # the market does differ: every caution costs
    assert gains[-1] == 0.0


def test_the_choice_is_seeded() -> None:
    some = markets(np.array([0.1, -0.4, 0.3]), 400)
    first, second = (list(_gains(*some[0], 20, PRIOR, [seed, 78, 0])) for seed in (3, 3))
    np.testing.assert_array_equal(first, second)
    assert learn_still(some, PRIOR, seed=3) == learn_still(some, PRIOR, seed=3)
