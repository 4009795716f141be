"""Small tasks that every test of ``meta`` may draw."""

import numpy as np
import pandas
import pytest
import torch

from meta.losses import binary_cross_entropy
from meta.nets import Ensemble
from meta.synthetic import COLUMNS, PortfolioSettings, make_portfolio
from meta.types import Episode, LabelledRows

N_FEATURES = 6


def draw_rows(n_tasks: int, n_rows: int, seed: int, dtype: torch.dtype = torch.float32) -> LabelledRows:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_tasks, n_rows, N_FEATURES, generator=generator, dtype=dtype)
    y = (torch.rand(n_tasks, n_rows, generator=generator, dtype=dtype) < 0.4).to(dtype)
    y[:, 0], y[:, 1] = 1.0, 0.0
    return LabelledRows.of(x, y)


@pytest.fixture
def network() -> Ensemble:
    return Ensemble(N_FEATURES, (8, 8), n_members=3)


@pytest.fixture
def episode() -> Episode:
    return Episode(draw_rows(4, 10, seed=1), draw_rows(4, 12, seed=2))


@pytest.fixture(scope="session")
def portfolio() -> pandas.DataFrame:
    settings = PortfolioSettings(n_markets=9, rows_per_market=260, base_rate=0.2)
    frame = make_portfolio(settings, seed=5)
    frame["row_id"] = np.arange(len(frame))
    return frame


@pytest.fixture(scope="session")
def columns():
    return COLUMNS


LOSS = binary_cross_entropy
