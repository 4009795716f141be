"""Drawing tasks: both designs, disjoint query rows, seeds, corrections."""

import math

import numpy as np
import pytest

from meta.episodes import GOODS_PER_DEFAULT, EpisodeSampler, Market, draw_support
from meta.errors import InvalidEpisode
from meta.level import LevelPrior


def make_market(name: str, n: int, rate: float, seed: int) -> Market:
    rng = np.random.default_rng(seed)
    x = np.arange(n, dtype=np.float32)[:, None] + 1000.0 * seed
    return Market(name, x, (rng.random(n) < rate).astype(float), np.full(n, -2.0))


MARKETS = [make_market("A", 200, 0.2, 1), make_market("B", 300, 0.1, 2), make_market("C", 40, 0.2, 3)]


def sampler(support, seed: int = 0) -> EpisodeSampler:
    return EpisodeSampler(MARKETS, [support], n_tasks=4, n_query=30, level_prior=LevelPrior(), seed=seed)


def test_a_random_support_is_a_sample_and_a_case_control_one_is_counted() -> None:
    y = MARKETS[0].y
    rng = np.random.default_rng(0)
    assert len(np.unique(draw_support(y, "random", 50, rng))) == 50
    chosen = draw_support(y, "case_control", 6, rng)
    assert y[chosen].sum() == 6
    assert len(np.unique(chosen)) == 6 * (1 + GOODS_PER_DEFAULT)


def test_support_and_query_never_share_a_row() -> None:
    episode = sampler(("random", 20)).draw(0)
    for task in range(4):
        support = set(episode.support.x[task, :, 0].tolist())
        query = set(episode.query.x[task, episode.query.mask[task] == 1, 0].tolist())
        assert not support & query
        assert len(support) == 20


def test_the_same_step_gives_the_same_batch_and_another_another() -> None:
    first, again = sampler(("random", 20)).draw(3), sampler(("random", 20)).draw(3)
    assert np.array_equal(first.support.x, again.support.x)
    assert not np.array_equal(first.support.x, sampler(("random", 20)).draw(4).support.x)
    assert not np.array_equal(first.support.x, sampler(("random", 20), seed=1).draw(3).support.x)


def test_case_control_offsets_carry_the_prior_correction() -> None:
    episode = sampler(("case_control", 5)).draw(0)
    for task in range(4):
        market = next(m for m in MARKETS if episode.support.x[task, 0, 0] in m.x)
        rate = market.y.mean()
        correction = math.log(0.2 / 0.8) - math.log(rate / (1 - rate))
        difference = episode.support.offset[task, 0] - episode.query.offset[task, 0]
        assert difference.item() == pytest.approx(correction, abs=1e-5)


def test_markets_without_the_rows_are_passed_over_or_refused() -> None:
    drawn = sampler(("random", 100)).draw(0)
    assert (drawn.support.x < 3000).all()  # market C is too small
    with pytest.raises(InvalidEpisode, match="no source market has the rows for a random support of 500"):
        sampler(("random", 500)).draw(0)
    with pytest.raises(InvalidEpisode, match="needs 300 rows, the market has 200"):
        draw_support(MARKETS[0].y, "random", 300, np.random.default_rng(0))
