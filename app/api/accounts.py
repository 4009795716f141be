"""Accounts of a market and their scores: PUT, GET."""

from typing import Annotated

from fastapi import APIRouter, Body, Response

from app.api import examples
from app.api.counter import TheCounter
from app.api.parts import AccountPath, MarketSlug, ProductSlug
from app.api.strict_json import StrictRoute
from app.domain.scores import Account, AccountDraft, Score
from app.services import accounts, scoring

router = APIRouter(prefix="/products/{product}/markets/{market}/accounts", route_class=StrictRoute)


@router.put("/{account}", tags=["accounts"], summary="Store an account's features")
def put_account(
    product: ProductSlug,
    market: MarketSlug,
    account: AccountPath,
    draft: Annotated[AccountDraft, Body(examples=[examples.ACCOUNT_FEATURES])],
    counter: TheCounter,
    response: Response,
) -> Account:
    """Store, or replace, the features of an account, in the units of the product's schema; so no feature is ever part
    of an address. An absent feature is missing, the same as null."""
    response.headers["Cache-Control"] = "no-store"
    with counter.database.writing() as tx:
        return accounts.put_account(tx, product, market, account, draft)


@router.get("/{account}", tags=["accounts"], summary="Read an account's features")
def get_account(
    product: ProductSlug, market: MarketSlug, account: AccountPath, counter: TheCounter, response: Response
) -> Account:
    """Read what is stored of an account."""
    response.headers["Cache-Control"] = "no-store"
    with counter.database.reading() as tx:
        return accounts.get_account(tx, product, market, account)


@router.get("/{account}/score", tags=["scores"], summary="Score an account")
def score_account(
    product: ProductSlug, market: MarketSlug, account: AccountPath, counter: TheCounter, response: Response
) -> Score:
    """Score a stored account by the version that serves its market: the PD is a share from 0 to 1 with its 90 %
    interval, points are on the product's scale, more is safer, and at most four reasons say what makes the account
    riskier than the reference account. The score is in the ledger before it is answered."""
    response.headers["Cache-Control"] = "no-store"
    with counter.database.writing() as tx:
        score = scoring.score_account(tx, counter.predictors, product, market, account)
    counter.metrics.count_scores(score.basis, 1)
    return score
