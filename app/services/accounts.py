"""Accounts: keep features by reference, so that a score can be asked for without any feature in an address."""

from app.domain.scores import Account, AccountDraft
from app.errors import InvalidBody, UnknownAccount
from app.services import checking, markets, products
from app.store import accounts as store
from app.store.accounts import AccountRow
from app.store.database import Transaction


def put_account(tx: Transaction, product: str, market: str, account: str, draft: AccountDraft) -> Account:
    """Keep, or replace, an account's features. Raises: UnknownProduct, UnknownMarket, InvalidBody."""
    product_row = products.get_row(tx, product)
    market_row = markets.get_row(tx, product_row, market)
    schema = product_row.product.feature_schema
    faults = checking.faults_of_rows(schema, [draft.features])
    if faults:
        raise InvalidBody("Features break the product's schema.", faults=checking.faults_of_one(faults))
    features = {name: draft.features.get(name) for name in schema.names}
    row = store.put_account(tx, market_row.id, account, features)
    return _account(product, market, account, row)


def get_account(tx: Transaction, product: str, market: str, account: str) -> Account:
    """Raises: UnknownProduct, UnknownMarket, UnknownAccount."""
    market_row = markets.get_row(tx, products.get_row(tx, product), market)
    row = store.find_account(tx, market_row.id, account)
    if row is None:
        raise UnknownAccount("The market has no account of this reference; PUT its features first.")
    return _account(product, market, account, row)


def _account(product: str, market: str, account: str, row: AccountRow) -> Account:
    return Account(product=product, market=market, account=account, features=row.features, updated_at=row.updated_at)
