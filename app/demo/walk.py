"""The walk itself, all of it over HTTP: product, source data, theta, a new market, theta_prime, scores."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pandas
from numpy.typing import NDArray

from app.client import ThetaprimeClient
from app.commands.tables import find_product, sample_bodies
from app.demo.comparison import comparison_table
from app.demo.portfolio import Portfolio
from app.demo.rivals import own_model, pooled_trees
from app.domain.products import OutcomeDefinition, ProductDraft
from app.domain.recipes import ThetaRecipe
from app.domain.theta_primes import ActivationDraft, AdaptationOutcome
from app.domain.thetas import Theta
from app.screen import Screen

FloatArray = NDArray[np.float64]
WHO = ActivationDraft(activated_by="thetaprime demo")
CURRENCY = "EUR"


class Walk:
    """One portfolio's way through the service behind ``client``; ``check_worker`` raises if there is no worker."""

    def __init__(
        self, client: ThetaprimeClient, portfolio: Portfolio, screen: Screen, *, check_worker: Callable[[], None]
    ) -> None:
        self._client, self._portfolio, self._screen = client, portfolio, screen
        self._check_worker = check_worker
        self.product = _free_slug(client, portfolio.slug)
        self.market = portfolio.market

    def run(self, recipe: ThetaRecipe) -> None:
        """Walk from the product to the comparison; raises what the client raises."""
        self._declare()
        self._learn(recipe)
        by_theta = self._open_market()
        outcome = self._post_first_accounts()
        by_theta_prime = self._score_by_theta_prime(outcome)
        self._compare(by_theta, by_theta_prime)

    @property
    def example_path(self) -> str:
        """The path of a later account's score."""
        account = self._portfolio.later["account"].iloc[0]
        return f"/v1/products/{self.product}/markets/{self.market}/accounts/{account}/score"

    def _declare(self) -> None:
        portfolio, client = self._portfolio, self._client
        n_features, n_markets = len(portfolio.schema.features), portfolio.mature["market"].nunique()
        self._screen.step(f"Product {self.product}: {n_features} features, {n_markets} mature markets")
        definition = "as the source data has it"
        outcome = OutcomeDefinition(definition=definition, performance_window_days=portfolio.window_days)
        client.declare_product(
            ProductDraft(slug=self.product, title=portfolio.title, feature_schema=portfolio.schema, outcome=outcome)
        )
        for note in portfolio.notes:
            self._screen.say(note)
        receipt = client.upload_source_data(self.product, portfolio.mature)
        rate = receipt.n_defaults / receipt.n_stored
        self._screen.say(f"{receipt.n_stored:,} labelled accounts uploaded, {rate:.1%} of them defaulted")

    def _learn(self, recipe: ThetaRecipe) -> None:
        self._screen.step(f"Theta: the starting point, learned from the mature markets by {recipe.learner}")
        requested = self._client.request_theta(self.product, recipe)
        with self._screen.training() as on_theta:

            def look(theta: Theta) -> None:
                self._check_worker()
                on_theta(theta)

            theta = self._client.wait_for_theta(self.product, requested.version, on_progress=look)
        self._client.activate_theta(self.product, theta.version, WHO)
        seconds = (
            (theta.finished_at - theta.started_at).total_seconds() if theta.finished_at and theta.started_at else 0
        )
        self._screen.say(f"theta {theta.version} learned in {seconds:.0f} s and activated")

    def _open_market(self) -> FloatArray:
        """Declare the new market and have its later accounts scored while it has no version of its own."""
        portfolio = self._portfolio
        self._screen.step(f"Market {self.market}: new, {len(portfolio.later):,} of its accounts scored by theta")
        self._client.put_market(self.product, self.market, {"currency": CURRENCY, "title": "The demo's new market"})
        example = self._features(portfolio.later.iloc[:1]).iloc[0]
        self._client.put_account(self.product, self.market, portfolio.later["account"].iloc[0], _values(example))
        return self._pds_of_later("theta")

    def _post_first_accounts(self) -> AdaptationOutcome:
        first = self._portfolio.first
        self._screen.step(
            f"Samples: its first {len(first)} accounts, {self._portfolio.order}, posted with their labels"
        )
        rows = sample_bodies(
            first["account"].tolist(),
            self._features(first),
            first["defaulted"].tolist(),
            first["opened_on"].tolist(),
            first["observed_on"].tolist(),
        )
        receipt = self._client.post_samples(self.product, self.market, rows)
        outcome = receipt.adaptation
        assert outcome is not None, "every one of these rows is mature and new"
        self._screen.say(f"{outcome.n_samples} used, {outcome.n_defaults} of them defaulted")
        self._screen.say(f"theta_prime {outcome.version}: {outcome.verdict}")
        for reason in outcome.reasons:
            self._screen.say(reason)
        return outcome

    def _score_by_theta_prime(self, outcome: AdaptationOutcome) -> FloatArray | None:
        """Score by theta_prime, also where its guard holds it back; what serves is then what the guard let serve."""
        if outcome.verdict == "refuse":
            self._screen.say("refused: theta_prime can't serve, so it has no scores to compare; theta goes on serving")
            return None
        if outcome.verdict == "hold":
            self._client.activate_theta_prime(self.product, self.market, outcome.version, WHO)
        pds = self._pds_of_later("theta_prime")
        if outcome.verdict == "hold":
            self._client.activate_theta_prime(self.product, self.market, 0, WHO)
            self._screen.say("held back: activated for this comparison alone, then rolled back to theta")
        return pds

    def _compare(self, by_theta: FloatArray, by_theta_prime: FloatArray | None) -> None:
        portfolio, n_first = self._portfolio, len(self._portfolio.first)
        self._screen.step(f"What they say of {self.market}'s later accounts, which none of them has seen")
        own = own_model(portfolio.schema, portfolio.first, portfolio.later)
        pds: dict[str, FloatArray | None] = {
            "theta_prime": by_theta_prime,
            "theta": by_theta,
            "pooled trees": pooled_trees(portfolio.schema, portfolio.mature, portfolio.later),
            f"the {n_first} alone": own,
        }
        if portfolio.true_pds is not None:
            pds["true PDs"] = portfolio.true_pds
        table = comparison_table(self.market, portfolio.later["defaulted"].to_numpy(dtype=bool), "theta", pds)
        self._screen.console.print(table)
        self._screen.say(f"theta_prime: theta adapted on the first {n_first}; theta: learned on mature markets alone")
        self._screen.say("pooled trees: scikit-learn's HistGradientBoosting on the same mature markets")
        how = "all of one class, so no model" if own is None else "logistic regression on them"
        self._screen.say(f"the {n_first} alone: the new market's first accounts, {how}")
        if portfolio.true_pds is not None:
            self._screen.say("true PDs: the data are made up, so the best possible is known")

    def _pds_of_later(self, basis: str) -> FloatArray:
        later = self._portfolio.later
        table = self._features(later).assign(account=later["account"])
        scores = self._client.score_frame(self.product, self.market, table)
        assert set(scores["basis"]) == {basis}
        return scores["pd"].to_numpy()

    def _features(self, accounts: pandas.DataFrame) -> pandas.DataFrame:
        return accounts[self._portfolio.schema.names]


def _free_slug(client: ThetaprimeClient, slug: str) -> str:
    """Find a product's name that is not taken, so that a database in use gains a product and loses nothing."""
    candidates: Iterator[str] = (slug if n == 1 else f"{slug}-{n}" for n in count(1))
    return next(candidate for candidate in candidates if find_product(client, candidate) is None)


def _values(row: "pandas.Series[Any]") -> dict[str, Any]:
    return {str(name): None if pandas.isna(value) else value for name, value in row.items()}
