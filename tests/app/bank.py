"""A small bank, so that a test can say what it is about and nothing else."""

from datetime import date, timedelta
from typing import Any

from httpx import Client, Response
from sqlalchemy import text

from app.domain.recipes import ThetaRecipe
from app.services import training
from app.store import products, thetas, training_runs
from app.store.database import Database
from tests.app.fake_engine import make_theta

FEATURES = [
    {"name": "annual_income", "kind": "numeric", "unit": "EUR", "minimum": 0, "personal_data": "personal"},
    {"name": "utilisation", "kind": "numeric", "unit": "share", "minimum": 0, "maximum": 2, "personal_data": "none"},
    {"name": "home", "kind": "categorical", "categories": ["own", "rent", "mortgage"]},
]
PRODUCT = {
    "slug": "card",
    "title": "Credit card",
    "feature_schema": {"features": FEATURES},
    "outcome": {"definition": "90+ dpd within 12 months", "performance_window_days": 365},
}
BASE_RATE = {"value": 0.1, "low": 0.05, "high": 0.2, "source": "bureau", "as_of": "2025-01-01"}
CSV = {"Content-Type": "text/csv"}
MARKET = {"currency": "EUR", "base_rate": BASE_RATE}


def features(
    income: float | None = 30_000.0, utilisation: float | None = 0.5, home: str | None = "rent"
) -> dict[str, Any]:
    return {"annual_income": income, "utilisation": utilisation, "home": home}


def row(
    account: str, *, defaulted: bool = False, days: int = 400, opened: date = date(2023, 1, 1), **values: Any
) -> dict[str, Any]:
    """A sample row: an account opened on a day and observed so many days later."""
    observed = opened + timedelta(days=days)
    found = {"account": account, "features": features(), "defaulted": defaulted}
    return found | {"opened_on": opened.isoformat(), "observed_on": observed.isoformat()} | values


def rows(n: int, *, prefix: str = "A", every: int = 3, **values: Any) -> list[dict[str, Any]]:
    """So many mature rows, every so many one of them defaulted."""
    return [row(f"{prefix}-{i}", defaulted=i % every == 0, **values) for i in range(n)]


class Bank:
    """One product and one market behind the app."""

    def __init__(self, client: Client, database: Database, market: str = "north", *, product: str = "card") -> None:
        self.client, self.database, self._slug = client, database, product
        self.product = f"/v1/products/{product}"
        self.market = f"{self.product}/markets/{market}"

    def at(self, market: str) -> "Bank":
        """The same bank, looked at from another market."""
        return Bank(self.client, self.database, market, product=self._slug)

    def open(self) -> "Bank":
        self.declare_product()
        self.add_theta()
        self.put_market("north", **MARKET)
        return self

    def declare_product(self, **changes: Any) -> Response:
        return self.client.post("/v1/products", json=PRODUCT | changes)

    def put_market(self, slug: str, **draft: Any) -> Response:
        return self.client.put(f"{self.product}/markets/{slug}", json=draft)

    def add_theta(self, *, activate: bool = True, **content: Any) -> int:
        """Put a theta there as if it had been trained; returns its version."""
        made = make_theta(**content)
        with self.database.writing() as tx:
            owner = products.find_product(tx, self._slug)
            assert owner is not None
            trained = thetas.insert_training(tx, owner.id, ThetaRecipe())
            run = training_runs.start_run(tx, trained.id, crashes=0)
            schema_sha256 = owner.product.schema_sha256
            thetas.insert_theta(
                tx, trained, schema_sha256=schema_sha256, weights=made.weights, sha256=made.sha256, report={}
            )
            training_runs.mark_succeeded(tx, run, None)
            if activate:
                training.activate_theta(tx, self._slug, trained.version, activated_by="a test")
        return trained.version

    def post(
        self, sent: list[dict[str, Any]], *, design: str = "random", dry_run: bool = False, seed: int = 0, **more: Any
    ) -> Response:
        body = {"design": design, "rows": sent, "recipe": {"seed": seed}}
        return self.client.post(f"{self.market}/samples", json=body, params={"dry_run": dry_run}, **more)

    def score(self, *sent: dict[str, Any], **more: Any) -> Response:
        body = {"rows": [{"features": found} for found in sent]}
        return self.client.post(f"{self.market}/scores", json=body, **more)

    def count(self, table: str) -> int:
        with self.database.reading() as tx:
            found: int = tx.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        return found

    def load_any_source(self) -> None:
        """As little as a training can be asked for with."""
        self.load_source("A,1,20,0.5,rent\nB,0,30,0.5,own\n")

    def load_source(self, lines: str, **query: Any) -> list[int]:
        """Load lines of market, defaulted, annual_income, utilisation, home; returns the ids of all source rows."""
        csv = f"market,defaulted,annual_income,utilisation,home\n{lines}"
        answer = self.client.post(f"{self.product}/source-data", content=csv, headers=CSV, params=query)
        assert answer.status_code == 201, answer.text
        with self.database.reading() as tx:
            return list(tx.execute(text("SELECT id FROM source_rows ORDER BY id")).scalars())
