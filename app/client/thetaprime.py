"""The typed client of Thetaprime's API: one method a verb, in the API's own order."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pandas

from app.client.errors import TrainingFailed
from app.client.score_tables import SCORE_COLUMNS, read_scores, tables_of
from app.client.tables import ARROW, body_of
from app.client.transport import Transport, at, read
from app.domain.cards import ThetaCard, ThetaPrimeCard
from app.domain.markets import Market, MarketDraft
from app.domain.operations import MarketStatus
from app.domain.outcomes import OutcomeRow
from app.domain.products import Product, ProductDraft
from app.domain.recipes import AdaptationRecipe, ThetaRecipe
from app.domain.samples import Design, Sample, SampleRow
from app.domain.scores import Account, RecordedScore, Replay, Score, ScoreExplanation, ScoreList
from app.domain.source_data import SourceDataReceipt, SourceMarket
from app.domain.theta_primes import (
    ActivationDraft,
    ActivationRecord,
    AdaptationReceipt,
    InfluenceReport,
    SamplesReceipt,
    ThetaPrime,
    ThetaPrimeDetail,
)
from app.domain.thetas import Theta

UPLOAD_PATIENCE_S = 1800.0  # millions of rows are checked and stored before the answer
SCORES_PATIENCE_S = 120.0  # tens of thousands of rows, each with reasons
INFLUENCE_PATIENCE_S = 300.0  # hundreds of adaptations
OnTheta = Callable[[Theta], None]


class ThetaprimeClient:
    """A service, as Python sees it.

    Answers are frozen values of ``app.domain``; lists are iterators that read page after page. Whatever the service
    refuses is raised as ThetaprimeError. Requests are tried again over broken connections and when the service is
    busy; POSTs carry an Idempotency-Key, so that no work is done twice.

    Args: http: an httpx client of one's own, with its base URL, certificates or proxies.
    """

    def __init__(self, base_url: str = "http://127.0.0.1:8000", *, http: httpx.Client | None = None) -> None:
        self._http = http or httpx.Client(base_url=base_url)
        self._transport = Transport(self._http)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- products and what theta is learned from ---------------------------------------------------------------------

    def declare_product(self, draft: ProductDraft | Mapping[str, Any]) -> Product:
        """Declare a product; the very same declaration again changes nothing."""
        return self._transport.post(at("products"), draft, Product)

    def get_product(self, product: str) -> Product:
        """Read a product."""
        return self._transport.get(at("products", product), Product)

    def list_products(self) -> Iterator[Product]:
        """Read all products by slug."""
        return self._transport.items(at("products"), Product)

    def upload_source_data(
        self,
        product: str,
        table: Path | str | pandas.DataFrame,
        *,
        market_column: str = "market",
        target_column: str = "defaulted",
        opened_on_column: str | None = None,
        observed_on_column: str | None = None,
        ignore_columns: Sequence[str] = (),
    ) -> SourceDataReceipt:
        """Load labelled rows of mature markets from a file (CSV, Parquet, Arrow, JSON lines) or a frame, streamed."""
        params = {
            "market_column": market_column,
            "target_column": target_column,
            "opened_on_column": opened_on_column,
            "observed_on_column": observed_on_column,
            "ignore_column": list(ignore_columns) or None,
        }
        body = body_of(table)
        path = at("products", product, "source-data")
        answer = self._transport.send(
            "POST",
            path,
            params=params,
            content=body.content,
            content_type=body.content_type,
            patience_s=UPLOAD_PATIENCE_S,
        )
        return read(answer, SourceDataReceipt)

    def count_source_data(self, product: str) -> Iterator[SourceMarket]:
        """Count the stored source rows by market."""
        return self._transport.items(at("products", product, "source-data"), SourceMarket)

    # --- thetas ------------------------------------------------------------------------------------------------------

    def request_theta(self, product: str, recipe: ThetaRecipe | None = None, *, activate: bool = False) -> Theta:
        """Queue a training; ``activate``: let it serve when learned, if the product has no active theta by then."""
        return self._transport.post(
            at("products", product, "thetas"), recipe or ThetaRecipe(), Theta, activate=activate
        )

    def get_theta(self, product: str, version: int) -> Theta:
        """Read a theta, or how its training comes along."""
        return self._transport.get(at("products", product, "thetas", version), Theta)

    def list_thetas(self, product: str) -> Iterator[Theta]:
        """Read a product's thetas, oldest first."""
        return self._transport.items(at("products", product, "thetas"), Theta)

    def wait_for_theta(
        self, product: str, version: int, *, on_progress: OnTheta = lambda theta: None, poll_every_s: float = 0.5
    ) -> Theta:
        """Wait until a training ends; ``on_progress`` hears of it at every look. Raises: TrainingFailed."""
        while True:
            theta = self.get_theta(product, version)
            on_progress(theta)
            if theta.status == "succeeded":
                return theta
            if theta.status == "failed":
                raise TrainingFailed(product, version, theta.error)
            time.sleep(poll_every_s)

    def activate_theta(self, product: str, version: int, who: ActivationDraft | None = None) -> Theta:
        """Let a learned theta serve."""
        return self._transport.post(
            at("products", product, "thetas", version, "activate"), who or ActivationDraft(), Theta
        )

    def get_theta_card(self, product: str, version: int) -> ThetaCard:
        """Read a theta's model card."""
        return self._transport.get(at("products", product, "thetas", version, "card"), ThetaCard)

    def list_theta_activations(self, product: str) -> Iterator[ActivationRecord]:
        """Read which theta served when, oldest first."""
        return self._transport.items(at("products", product, "thetas", "activations"), ActivationRecord)

    # --- markets -----------------------------------------------------------------------------------------------------

    def put_market(self, product: str, market: str, draft: MarketDraft | Mapping[str, Any]) -> Market:
        """Declare a market, or replace its declaration."""
        return self._transport.put(_market(product, market), draft, Market)

    def get_market(self, product: str, market: str) -> Market:
        """Read a market and its versions' numbers."""
        return self._transport.get(_market(product, market), Market)

    def list_markets(self, product: str) -> Iterator[Market]:
        """Read a product's markets by slug."""
        return self._transport.items(at("products", product, "markets"), Market)

    # --- samples and theta_primes ------------------------------------------------------------------------------------

    def post_samples(
        self,
        product: str,
        market: str,
        rows: Sequence[SampleRow | Mapping[str, Any]],
        *,
        design: Design = "random",
        recipe: AdaptationRecipe | None = None,
        dry_run: bool = False,
    ) -> SamplesReceipt:
        """Store labelled accounts and adapt theta on all that the market has; ``dry_run`` keeps nothing."""
        return self._post_rows(_market(product, market, "samples"), rows, design, recipe, dry_run)

    def post_outcomes(
        self,
        product: str,
        market: str,
        rows: Sequence[OutcomeRow | Mapping[str, Any]],
        *,
        design: Design = "random",
        recipe: AdaptationRecipe | None = None,
        dry_run: bool = False,
    ) -> SamplesReceipt:
        """Say what became of scored accounts: they become samples with the features that were scored."""
        return self._post_rows(_market(product, market, "outcomes"), rows, design, recipe, dry_run)

    def _post_rows(
        self, path: str, rows: Sequence[Any], design: Design, recipe: AdaptationRecipe | None, dry_run: bool
    ) -> SamplesReceipt:
        body: dict[str, Any] = {"design": design, "rows": list(rows)}
        if recipe is not None:
            body["recipe"] = recipe
        return self._transport.post(path, body, SamplesReceipt, dry_run=dry_run)

    def list_samples(self, product: str, market: str) -> Iterator[Sample]:
        """Read a market's samples, oldest first."""
        return self._transport.items(_market(product, market, "samples"), Sample)

    def adapt_again(self, product: str, market: str, recipe: AdaptationRecipe | None = None) -> AdaptationReceipt:
        """Make the next version from the stored samples: after a new theta, say."""
        body = recipe or AdaptationRecipe()
        return self._transport.post(_market(product, market, "theta-primes"), body, AdaptationReceipt)

    def get_theta_prime(self, product: str, market: str, version: int) -> ThetaPrimeDetail:
        """Read a version with its report and the ids of its samples."""
        return self._transport.get(_market(product, market, "theta-primes", version), ThetaPrimeDetail)

    def get_theta_prime_card(self, product: str, market: str, version: int) -> ThetaPrimeCard:
        """Read the model card of a market's version."""
        return self._transport.get(_market(product, market, "theta-primes", version, "card"), ThetaPrimeCard)

    def get_influence(self, product: str, market: str, version: int) -> InfluenceReport:
        """Have computed what each sample did to a version, the largest influence first."""
        path = _market(product, market, "theta-primes", version, "influence")
        return read(self._transport.send("GET", path, patience_s=INFLUENCE_PATIENCE_S), InfluenceReport)

    def list_theta_primes(self, product: str, market: str) -> Iterator[ThetaPrime]:
        """Read a market's versions, oldest first."""
        return self._transport.items(_market(product, market, "theta-primes"), ThetaPrime)

    def activate_theta_prime(
        self, product: str, market: str, version: int, who: ActivationDraft | None = None
    ) -> Market:
        """Let a version score its market, or roll back to one; 0: back to the product's theta."""
        path = _market(product, market, "theta-primes", version, "activate")
        return self._transport.post(path, who or ActivationDraft(), Market)

    def list_theta_prime_activations(self, product: str, market: str) -> Iterator[ActivationRecord]:
        """Read what served a market when, oldest first."""
        return self._transport.items(_market(product, market, "theta-primes", "activations"), ActivationRecord)

    # --- accounts and scores -----------------------------------------------------------------------------------------

    def put_account(self, product: str, market: str, account: str, features: Mapping[str, Any]) -> Account:
        """Store an account's features, or replace them."""
        return self._transport.put(_market(product, market, "accounts", account), {"features": features}, Account)

    def get_account(self, product: str, market: str, account: str) -> Account:
        """Read a stored account."""
        return self._transport.get(_market(product, market, "accounts", account), Account)

    def score_account(self, product: str, market: str, account: str) -> Score:
        """Score a stored account."""
        return self._transport.get(_market(product, market, "accounts", account, "score"), Score)

    def score_batch(
        self, product: str, market: str, rows: Sequence[Mapping[str, Any]], *, reasons: bool = False
    ) -> list[Score]:
        """Score rows of ``features`` and, where they have one, ``account``; ``reasons``: about a millisecond a row."""
        path = _market(product, market, "scores")
        return self._transport.post(path, {"rows": list(rows)}, ScoreList, reasons=reasons).scores

    def score_frame(
        self, product: str, market: str, frame: pandas.DataFrame, *, reasons: bool = False
    ) -> pandas.DataFrame:
        """Score a frame with a column a feature and, where rows have one, ``account``; a row a row, in order.

        Goes by in parts, each of which is scored and recorded whole or not at all. ``reasons``: about a millisecond a
        row; the column then holds arrays of ``code``, ``feature`` and ``points``.
        """
        path = _market(product, market, "scores")
        wanted: dict[str, Any] = {"params": {"reasons": reasons}, "content_type": ARROW, "accept": ARROW}
        scored = [
            read_scores(self._transport.send("POST", path, content=part, patience_s=SCORES_PATIENCE_S, **wanted))
            for part in tables_of(frame)
        ]
        whole = pandas.concat(scored, ignore_index=True) if scored else pandas.DataFrame(columns=list(SCORE_COLUMNS))
        return whole.set_index(frame.index)

    def get_score(self, score_id: object) -> RecordedScore:
        """Read a score as it was recorded, with its inputs."""
        return self._transport.get(at("scores", score_id), RecordedScore)

    def explain_score(self, score_id: object) -> ScoreExplanation:
        """Have a recorded score taken apart, by the versions that made it."""
        return self._transport.get(at("scores", score_id, "explanation"), ScoreExplanation)

    def replay_score(self, score_id: object) -> Replay:
        """Have a recorded score computed again."""
        return self._transport.get(at("scores", score_id, "replay"), Replay)

    # --- operations --------------------------------------------------------------------------------------------------

    def list_market_status(self, product: str | None = None) -> Iterator[MarketStatus]:
        """Read what serves in every market, and what theta_prime gains there."""
        return self._transport.items(at("ops", "markets"), MarketStatus, product=product)

    def draw_market_status(self, product: str | None = None) -> bytes:
        """Have the same drawn: SVG."""
        svg = "image/svg+xml"
        return self._transport.send("GET", at("ops", "markets"), params={"product": product}, accept=svg).content


def _market(product: str, market: str, *steps: object) -> str:
    return at("products", product, "markets", market, *steps)
