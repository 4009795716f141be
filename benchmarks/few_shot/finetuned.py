"""theta's own network, fine-tuned on the market's rows by plain Adam: what is done where nobody meta-trains."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
import torch
from scipy.special import expit
from torch.nn.functional import binary_cross_entropy_with_logits

from app.domain.recipes import ThetaRecipe
from benchmarks.few_shot.data import schema_of
from benchmarks.few_shot.design import Posted
from benchmarks.few_shot.level import InterceptPrior, MarketLevel
from benchmarks.few_shot.rehearsal import RehearsedMarket, rehearse, sizes
from benchmarks.few_shot.rival import FloatArray, PDs, Positions, SourceMarkets
from benchmarks.few_shot.thetaprime import columns_of, theta_of
from meta.losses import logit_of_mean
from meta.thetas import Theta


class FineTuned:
    """All weights moved by Adam from theta at rest, the market's level as offset; steps at each n are rehearsed.

    theta has seen every source market, so two more networks rehearse, each on the half of the rehearsed markets that it
    has not seen.
    """

    names = ("Network fine-tuned",)
    n_draws = 4
    LR = 1e-3
    STEPS = (0, 3, 10, 30)

    def __init__(self, recipe: ThetaRecipe | None = None) -> None:
        self.recipe = recipe or ThetaRecipe()

    def learn(self, source: SourceMarkets) -> Mapping[str, Any]:
        recipe = self.recipe.model_copy(update={"seed": source.design.seed})
        schema_sha256 = schema_of(source.rows.features).sha256()
        artifact = theta_of(source, recipe).artifact
        self.theta = Theta.unpack(artifact.weights, artifact.sha256, schema_sha256)
        met: dict[str, _MetMarket] = {}
        for half in (source.rehearsals[::2], source.rehearsals[1::2]):
            others = source.rows.at(~np.any([market.unit for market in half], axis=0))
            artifact = theta_of(source, _rehearsing(recipe), others).artifact
            rehearsing = Theta.unpack(artifact.weights, artifact.sha256, schema_sha256)
            met |= {market.name: _MetMarket(rehearsing, market.rows.features) for market in half}
        tried = self._rehearse(source, met)
        n_of_cell = sizes(source.rehearsals)
        best = {n: int(np.nanmean(tried[:, n_of_cell == n], axis=1).argmin()) for n in np.unique(n_of_cell).tolist()}
        self.steps_at = {n: self.STEPS[place] for n, place in best.items()}
        losses = [float(tried[best[n], cell]) for cell, n in enumerate(n_of_cell.tolist())]
        return {"steps": {str(n): steps for n, steps in self.steps_at.items()}, "rehearsed": {self.names[0]: losses}}

    def meet(self, accounts: pandas.DataFrame) -> None:
        self.market = _MetMarket(self.theta, accounts)

    def pds(self, posted: Posted, query: Positions) -> PDs:
        steps = self.steps_at[min(self.steps_at, key=lambda n: abs(n - len(posted.y)))]
        return {self.names[0]: self.market.pds(posted, query, (steps,), self.LR)[0]}

    def _rehearse(self, source: SourceMarkets, met: Mapping[str, "_MetMarket"]) -> FloatArray:
        """Log losses (n_steps, n_cells), all numbers of steps in one run of Adam."""
        paths: dict[tuple[str, bytes], list[FloatArray]] = {}

        def at(place: int) -> Any:
            def score(market: RehearsedMarket, posted: Posted, query: Positions) -> FloatArray:
                key = market.name, posted.support.tobytes()
                if key not in paths:
                    paths[key] = met[market.name].pds(posted, query, self.STEPS, self.LR)
                return paths[key][place]

            return score

        return np.stack([rehearse(source.rehearsals, at(i)) for i in range(len(self.STEPS))])


def _rehearsing(recipe: ThetaRecipe) -> ThetaRecipe:
    """For the networks that rehearse: pooled rows alone, as fine-tuning needs no episodes."""
    return recipe.model_copy(update={"outer_steps": 0, "n_folds": 2, "pooled_steps": min(400, recipe.pooled_steps)})


class _MetMarket:
    """One market's accounts, encoded, and theta's logits of them."""

    def __init__(self, theta: Theta, accounts: pandas.DataFrame) -> None:
        self.x = torch.from_numpy(theta.encoder.encode(columns_of(accounts)))
        self.network = theta.settings.network(theta.encoder.n_features)
        self.weights = {name: value for name, value in theta.at_rest().items() if name != "level"}
        with torch.no_grad():
            pieces = [logit_of_mean(self.network.forward(self.weights, part)) for part in torch.split(self.x, 2048)]
        prior = InterceptPrior(theta.level_prior.mean, theta.level_prior.sd)
        self.level = MarketLevel(prior, torch.cat(pieces).double().numpy())

    def pds(self, posted: Posted, query: Positions, steps: tuple[int, ...], lr: float) -> list[FloatArray]:
        """PDs (n_query,) after each number of Adam steps, ascending."""
        level = self.level.given(posted)
        x, y = self.x[posted.support], torch.from_numpy(posted.y).float()[:, None]
        weights = {name: value.clone().requires_grad_() for name, value in self.weights.items()}
        adam = torch.optim.Adam(weights.values(), lr=lr)
        found = []
        for step in range(max(steps) + 1):
            if step in steps:
                with torch.no_grad():
                    logits = logit_of_mean(self.network.forward(weights, self.x[query])).double().numpy()
                found.append(expit(logits + level))
            if step < max(steps):
                members = self.network.forward(weights, x) + (level + posted.correction)
                adam.zero_grad()
                binary_cross_entropy_with_logits(members, y.expand_as(members)).backward()
                adam.step()
        return found
