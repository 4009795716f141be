"""What tests of single learners check alike: gradients against differences, padding against none."""

import pytest
import torch

from meta.learners.protocol import Learner
from meta.types import Episode, LabelledRows, Params

STEP = 1e-6


def in_float64(theta: Params) -> Params:
    return {name: value.double() for name, value in theta.items()}


def gradient_matches_differences(learner: Learner, theta: Params, episode: Episode, rel: float = 1e-4) -> None:
    """One number in the middle of every tensor of theta (float64) is nudged both ways."""
    found = learner.outer_grad(theta, episode).gradient
    for name, value in theta.items():
        index = tuple(size // 2 for size in value.shape)
        moved = []
        for sign in (1, -1):
            nudged = {n: v.clone() for n, v in theta.items()}
            nudged[name][index] += sign * STEP
            moved.append(learner.outer_grad(nudged, episode).loss.item())
        expected = (moved[0] - moved[1]) / (2 * STEP)
        assert found[name][index].item() == pytest.approx(expected, rel=rel, abs=1e-8), name


def with_padding(rows: LabelledRows) -> LabelledRows:
    """The same tasks with five rows of padding, which look like defaulters far away."""
    shape = (*rows.y.shape[:-1], 5)
    return LabelledRows(
        torch.cat([rows.x, torch.full((*shape, rows.x.shape[-1]), 9.0, dtype=rows.x.dtype)], -2),
        torch.cat([rows.y, torch.ones(shape, dtype=rows.y.dtype)], -1),
        torch.cat([rows.mask, torch.zeros(shape, dtype=rows.mask.dtype)], -1),
        torch.cat([rows.offset, torch.zeros(shape, dtype=rows.offset.dtype)], -1),
    )


def padding_changes_nothing(learner: Learner, theta: Params, episode: Episode) -> None:
    plain, masked = learner.adapt(theta, episode.support), learner.adapt(theta, with_padding(episode.support))
    for name, value in plain.items():
        torch.testing.assert_close(masked[name], value, rtol=1e-4, atol=1e-6)
    padded = Episode(with_padding(episode.support), with_padding(episode.query))
    expected, found = learner.outer_grad(theta, episode), learner.outer_grad(theta, padded)
    for name, value in expected.gradient.items():
        torch.testing.assert_close(found.gradient[name], value, rtol=1e-4, atol=1e-6)


def rows_without_any_leave_theta_at_rest(learner: Learner, theta: Params, rows: LabelledRows) -> None:
    """None at all, or all of them masked."""
    none = LabelledRows(rows.x[:, :0], rows.y[:, :0], rows.mask[:, :0], rows.offset[:, :0])
    masked = LabelledRows(rows.x, rows.y, torch.zeros_like(rows.mask), rows.offset)
    at_rest = learner.at_rest(theta)
    for support in (none, masked):
        adapted = learner.adapt(theta, support)
        assert set(adapted) == set(at_rest)
        for name, value in at_rest.items():
            for task in range(len(rows.x)):
                assert torch.equal(adapted[name][task], value), name
