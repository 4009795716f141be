"""A bank on real parts: source rows of mature markets, two new markets, and a theta of the real engine."""

import random
from collections.abc import Iterator

from app.domain.markets import MarketDraft
from app.domain.products import ProductDraft
from app.domain.recipes import ThetaRecipe
from app.domain.thetas import Theta
from app.engine.training import train_theta
from app.services import training
from app.services.training_run import run_training
from app.store import markets, products, thetas
from app.store.database import Database
from app.store.source_rows import SourceRow, copy_source_rows
from tests.app import bank

TINY = ThetaRecipe(n_folds=2, pooled_steps=60, outer_steps=4, meta_batch=2, n_members=2, width=8, inner_steps=1)
MARKETS = ("north", "south")


def found_bank(url: str) -> Database:
    """A product with source rows of six markets, and two new markets."""
    database = Database(url, pool_size=4)
    with database.writing() as tx:
        products.insert_product(tx, ProductDraft.model_validate(bank.PRODUCT))
        product = products.find_product(tx, "card")
        assert product is not None
        copy_source_rows(tx, product.id, source_rows())
        for market in MARKETS:
            draft = MarketDraft.model_validate(bank.MARKET)
            markets.put_market(tx, product.id, market, draft)
    return database


def source_rows(n_markets: int = 6, n_rows: int = 60) -> Iterator[SourceRow]:
    draw = random.Random(0)
    for number in range(n_markets * n_rows):
        utilisation = draw.random()
        features = bank.features(draw.gauss(30_000, 8_000), utilisation, draw.choice(["own", "rent", "mortgage"]))
        defaulted = draw.random() < 0.1 + 0.4 * utilisation
        yield SourceRow(f"mature-{number % n_markets}", defaulted, None, None, features)


def request_theta(database: Database, recipe: ThetaRecipe) -> int:
    with database.writing() as tx:
        return training.request_theta(tx, "card", recipe).version


def read_theta(database: Database, version: int) -> Theta:
    with database.reading() as tx:
        return training.get_theta(tx, "card", version)


def serve_a_theta(database: Database) -> None:
    with database.writing() as tx:
        version = training.request_theta(tx, "card", TINY, activate=True).version
        product = products.find_product(tx, "card")
        assert product is not None
        training_id = thetas.get_training(tx, product.id, version).id
    assert run_training(database, training_id, train_theta)
    assert read_theta(database, version).active
