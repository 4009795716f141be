"""train, adapt, score: files in, through the API, and what comes of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas
from pydantic import ValidationError

from app.client import ThetaprimeClient, ThetaprimeError
from app.domain.products import OutcomeDefinition, Product, ProductDraft
from app.domain.recipes import ThetaRecipe
from app.domain.samples import Design
from app.domain.schema import FeatureSchema
from app.domain.scores import ScoreReason, reasons_as_text
from app.domain.theta_primes import ActivationDraft, SamplesReceipt
from app.frames import read_days, read_frame, read_labels, require_columns, require_writable, write_frame
from app.schema_inference import feature_frame, infer_schema
from app.screen import Screen
from app.user_fault import UnusableSetting, UnusableTable


@dataclass(frozen=True)
class SourceChoice:
    """How to read a file of mature markets."""

    market_column: str
    target_column: str
    exclude: Sequence[str]
    window_days: int
    outcome: str


def recipe_of(settings: dict[str, Any], options: Iterable[str]) -> ThetaRecipe:
    """Make the recipe of a training; ``options`` of its learner are words such as ``annealing_share=0.1``.

    Raises:  UnusableSetting: an option is no NAME=VALUE, or the recipe does not know it.
    """
    chosen: dict[str, bool | float] = {}
    for word in options:
        name, _, value = word.partition("=")
        try:
            chosen[name] = value == "true" if value in ("true", "false") else float(value)
        except ValueError:
            raise UnusableSetting(
                f"--learner-option must be NAME=VALUE, true, false or a number, got {word!r}"
            ) from None
    try:
        return ThetaRecipe.model_validate({**settings, "learner_options": chosen})
    except ValidationError as fault:
        told = {
            str(e["loc"][1]) if len(e["loc"]) > 1 else e["msg"].removeprefix("Value error, ") for e in fault.errors()
        }
        words = [f"{word} must be true, false or a number from 0 to 1" if word in chosen else word for word in told]
        raise UnusableSetting(f"--learner-option: {'; '.join(sorted(words))}") from None


def train(
    client: ThetaprimeClient,
    screen: Screen,
    product: str,
    path: Path | None,
    choice: SourceChoice,
    recipe: ThetaRecipe,
    *,
    activate: bool,
) -> None:
    """Declare the product where it is unknown, upload the file, and have a theta learned."""
    if path is not None:
        _upload(client, screen, product, path, choice)
    requested = client.request_theta(product, recipe)
    screen.step(f"theta {requested.version} of {product} is being learned")
    with screen.training() as on_theta:
        theta = client.wait_for_theta(product, requested.version, on_progress=on_theta)
    if activate:
        client.activate_theta(product, theta.version, ActivationDraft(activated_by="thetaprime train --activate"))
    screen.say(f"theta {theta.version}: {'active' if activate else 'learned, not active'}; sha256 {theta.sha256}")


def adapt(
    client: ThetaprimeClient,
    screen: Screen,
    product: str,
    market: str,
    path: Path,
    columns: "SampleColumns",
    *,
    design: Design,
    currency: str | None,
    dry_run: bool,
) -> None:
    """Post a file's accounts as samples and tell what came of them."""
    schema = client.get_product(product).feature_schema
    rows = sample_rows(read_frame(path), schema, columns)
    if currency is not None:
        _declare_market(client, product, market, currency)
    _tell(screen, market, client.post_samples(product, market, rows, design=design, dry_run=dry_run))


def score(
    client: ThetaprimeClient,
    screen: Screen,
    product: str,
    market: str,
    path: Path,
    output: Path,
    *,
    reasons: bool,
) -> None:
    """Score a file's accounts into another file, a row a row."""
    require_writable(output)
    frame = read_frame(path)
    features = feature_frame(frame, client.get_product(product).feature_schema)
    if "account" in frame.columns:
        features["account"] = frame["account"].astype(str)
    scores = client.score_frame(product, market, features, reasons=reasons)
    write_frame(_flat(scores) if output.suffix.lower() == ".csv" else scores, output)
    served = scores.iloc[0]
    version = "" if pandas.isna(served["theta_prime_version"]) else f" {int(served['theta_prime_version'])}"
    screen.say(f"{len(scores):,} scores by {served['basis']}{version} of {market}, mean PD {scores['pd'].mean():.2%}")
    screen.say(f"written to {output}")


def _flat(scores: pandas.DataFrame) -> pandas.DataFrame:
    """Write lists as text, as the API does in its own CSV."""
    reasons = scores["reasons"].map(_reasons_text, na_action="ignore")
    return scores.assign(unseen=scores["unseen"].map(" ".join), filled=scores["filled"].map(" ".join), reasons=reasons)


def _reasons_text(reasons: Iterable[dict[str, Any]]) -> str:
    return reasons_as_text(ScoreReason(**reason) for reason in reasons)


@dataclass(frozen=True)
class SampleColumns:
    """Which columns of a file say what of a sample; all others are features."""

    account: str = "account"
    target: str = "defaulted"
    opened_on: str = "opened_on"
    observed_on: str = "observed_on"


def sample_rows(frame: pandas.DataFrame, schema: FeatureSchema, columns: SampleColumns) -> list[dict[str, Any]]:
    """Make rows of samples. Raises: UnusableTable: a column is missing, or an account lacks its label or a date."""
    require_columns(frame, vars(columns).values())
    labels = read_labels(frame[columns.target])
    opened, observed = read_days(frame[columns.opened_on]), read_days(frame[columns.observed_on])
    n_incomplete = int((labels.isna() | opened.isna() | observed.isna()).sum())
    if n_incomplete:
        raise UnusableTable(f"{n_incomplete} rows have no label or no date; leave them out of the file.")
    features = feature_frame(frame, schema)
    accounts, days = frame[columns.account].tolist(), (opened.dt.date.tolist(), observed.dt.date.tolist())
    return sample_bodies(accounts, features, labels.tolist(), *days)


def sample_bodies(
    accounts: Sequence[object],
    features: pandas.DataFrame,
    defaulted: Sequence[bool],
    opened_on: Sequence[date],
    observed_on: Sequence[date],
) -> list[dict[str, Any]]:
    """Write labelled accounts as the API takes them; a missing value is None."""
    values = features.astype(object).where(features.notna(), None).to_dict("records")
    return [
        {
            "account": str(account),
            "features": {str(name): value for name, value in row.items()},
            "defaulted": bool(label),
            "opened_on": opened.isoformat(),
            "observed_on": observed.isoformat(),
        }
        for account, row, label, opened, observed in zip(
            accounts, values, defaulted, opened_on, observed_on, strict=True
        )
    ]


def _upload(client: ThetaprimeClient, screen: Screen, slug: str, path: Path, choice: SourceChoice) -> None:
    frame = read_frame(path)
    require_columns(frame, [choice.market_column, choice.target_column, *choice.exclude])
    labels = read_labels(frame[choice.target_column])
    known = labels.notna() & frame[choice.market_column].notna()
    frame, labels = frame[known], labels[known]
    product, features = _product_for(client, screen, slug, frame, choice)
    table = features.assign(market=frame[choice.market_column].astype(str), defaulted=labels.astype(bool))
    receipt = client.upload_source_data(product.slug, table)
    screen.say(
        f"{receipt.n_stored:,} rows of {len(receipt.markets)} markets, {receipt.n_defaults:,} defaulted, uploaded"
    )


def _product_for(
    client: ThetaprimeClient, screen: Screen, slug: str, frame: pandas.DataFrame, choice: SourceChoice
) -> tuple[Product, pandas.DataFrame]:
    """Get the product and the frame's features; an unknown product is declared as the frame looks."""
    product = find_product(client, slug)
    if product is not None:
        _refuse_second_load(client, slug)
        return product, feature_frame(frame, product.feature_schema)
    named = [choice.market_column, choice.target_column, *choice.exclude]
    inferred = infer_schema(frame, not_features=named)
    for column, reason in inferred.left_out.items():
        screen.say(f"column {column} left out: {reason}")
    draft = ProductDraft(
        slug=slug,
        title=slug,
        feature_schema=inferred.schema,
        outcome=OutcomeDefinition(definition=choice.outcome, performance_window_days=choice.window_days),
    )
    product = client.declare_product(draft)
    screen.say(f"product {slug} declared with {len(inferred.schema.features)} features")
    return product, inferred.features_of(frame)


def find_product(client: ThetaprimeClient, slug: str) -> Product | None:
    """Read a product; None: it is not declared."""
    try:
        return client.get_product(slug)
    except ThetaprimeError as fault:
        if fault.code != "unknown_product":
            raise
        return None


def _refuse_second_load(client: ThetaprimeClient, slug: str) -> None:
    n_rows = sum(market.n_rows for market in client.count_source_data(slug))
    if n_rows:
        raise UnusableTable(
            f"Product {slug} has {n_rows:,} source rows already, and a file loaded twice would count twice; "
            "leave the file out to train on what is there."
        )


def _declare_market(client: ThetaprimeClient, product: str, market: str, currency: str) -> None:
    try:
        client.get_market(product, market)
    except ThetaprimeError as fault:
        if fault.code != "unknown_market":
            raise
        client.put_market(product, market, {"currency": currency})


def _tell(screen: Screen, market: str, receipt: SamplesReceipt) -> None:
    rows = receipt.rows
    screen.say(f"{rows.n_used} of {rows.n_rows} rows used, {rows.n_defaults} defaulted")
    for reason in sorted({entry.reason for entry in rows.set_aside}):
        screen.say(f"{sum(entry.reason == reason for entry in rows.set_aside)} rows set aside: {reason}")
    made = receipt.adaptation
    if made is not None:
        dry = " (dry run, nothing kept)" if receipt.dry_run else ""
        screen.say(f"theta_prime {made.version} of {market}: {made.verdict}{dry}; {'; '.join(made.reasons)}")
    served = "theta" if receipt.active_version is None else f"theta_prime {receipt.active_version}"
    screen.say(f"{market} is scored by {served}")
