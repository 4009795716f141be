"""How much of a move is kept: shares by number of defaults, chosen on held-out markets."""

import numpy as np
import pytest
import torch

from meta.strength import HARM, SHARES, Strength, learn_strength, shrink


def test_shrinking_by_nothing_gives_theta_back_bit_for_bit() -> None:
    rest = {"w": torch.randn(3, 2, generator=torch.Generator().manual_seed(0))}
    adapted = {"w": torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(1))}
    kept = shrink(rest, adapted, torch.tensor([0.0, 0.5]))["w"]
    assert torch.equal(kept[0], rest["w"])
    torch.testing.assert_close(kept[1], (rest["w"] + adapted["w"][1]) / 2)


def test_what_a_support_left_behind_is_kept_whole_and_its_share_shrunken() -> None:
    rest = {"w": torch.ones(2), "seen.rows": torch.zeros(0, 3), "share": torch.zeros(1)}
    left = torch.arange(12.0).reshape(2, 2, 3)
    adapted = {"w": torch.ones(2, 2), "seen.rows": left, "share": torch.ones(2, 1)}
    kept = shrink(rest, adapted, torch.tensor([0.0, 0.25]))
    assert torch.equal(kept["seen.rows"], left)
    assert torch.equal(kept["w"], torch.ones(2, 2))
    assert kept["share"].tolist() == [[0.0], [0.25]]


def test_strength_keeps_what_helped_other_markets_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    helps = [np.array([1.0, 0.9, 0.8, 0.9, 1.0]) + rng.normal(0, 0.01) for _ in range(20)]
    harms = [np.linspace(1.0, 2.0, len(SHARES)) for _ in range(10)]
    noise = [np.r_[1.0, 1.0 + rng.normal(0, 0.1, 4)] for _ in range(10)]
    strength = learn_strength({5: harms, 12: helps, 50: noise})
    assert strength.share == (0.0, 0.5, 0.5)
    assert strength.at(4) == strength.at(5) == 0.0
    assert strength.at(12) == 0.5
    assert 0 < strength.at(8) < 0.5


def gains_at(*rows: tuple[int, list[float]]) -> list[np.ndarray]:
    """Losses of (number of markets, gain at each share above 0)."""
    return [1.0 - np.array([0.0, *gains]) for n, gains in rows for _ in range(n)]


def test_the_best_mean_is_passed_over_where_it_harms_more_than_one_market_in_twenty() -> None:
    # share 1 gains most on average but harms 2 markets of 20; share 0.75 harms 1, which is one in twenty: allowed
    markets = gains_at((18, [0.01, 0.02, 0.03, 0.1]), (1, [0.0, 0.0, 0.0, -0.01]), (1, [0.0, 0.0, -0.01, -0.01]))
    assert learn_strength({12: markets}).share == (0.75,)


def test_few_markets_are_judged_with_those_of_fewer_defaults() -> None:
    # ten markets all gain by the whole move; of thirty with fewer defaults, half were harmed by more than half of it
    few = gains_at((10, [0.01, 0.02, 0.03, 0.04]))
    others = gains_at((15, [0.0, 0.001, -0.01, -0.02]), (15, [0.01, 0.02, 0.03, 0.04]))
    assert learn_strength({12: others, 50: few}).share == (0.5, 0.5)
    assert learn_strength({12: others, 50: 2 * few}).share == (0.5, 1.0)  # twenty speak for themselves
    assert learn_strength({50: few}).share == (1.0,)


def test_a_loss_of_less_than_two_thousandths_is_no_harm() -> None:
    little, harm = -0.95 * HARM, -1.05 * HARM
    assert learn_strength({12: gains_at((9, [0.1] * 4), (1, [0.0, 0.0, 0.0, little]))}).share == (0.25,)
    unharmed = gains_at((9, [0.0, 0.0, 0.0, 0.1]), (1, [0.0, 0.0, 0.0, little]))
    assert learn_strength({12: unharmed}).share == (1.0,)
    harmed = gains_at((9, [0.0, 0.0, 0.01, 0.1]), (1, [0.0, 0.0, 0.0, harm]))
    assert learn_strength({12: harmed}).share == (0.75,)


def test_a_share_that_helps_nobody_is_not_kept_even_if_it_harms_nobody() -> None:
    assert learn_strength({12: gains_at((10, [-0.001] * 4))}).share == (0.0,)


def test_shares_never_fall_as_defaults_grow() -> None:
    best_at_half, best_at_none = gains_at((5, [0.1, 0.2, 0.1, 0.0])), gains_at((5, [-1.0] * 4))
    assert learn_strength({25: best_at_none, 5: best_at_half}).share == (0.5, 0.5)


def test_shares_are_linear_between_and_level_beyond() -> None:
    strength = Strength((5.0, 25.0), (0.2, 0.6))
    assert strength.at(5) == pytest.approx(0.2)
    assert strength.at(10) == pytest.approx(0.3)  # a quarter of the way
    assert strength.at(1000) == pytest.approx(0.6)
    assert strength.at(10, minimum=11) == 0.0
    assert Strength((), ()).at(1000) == 0.0
