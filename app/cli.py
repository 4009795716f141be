"""The command line: ``thetaprime --help``. What a command needs is imported when it runs, so that help is quick."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

URL = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(help="where the service is", envvar="THETAPRIME_URL")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="to listen on; 0: any free one")]
ProductOption = Annotated[str, typer.Option("--product", help="slug of the product")]
MarketOption = Annotated[str, typer.Option("--market", help="slug of the market")]
MarketColumn = Annotated[str, typer.Option(help="column with each row's market")]
TargetColumn = Annotated[str, typer.Option(help="column with 1 = default, 0 = good (or true/false, yes/no)")]
Exclude = Annotated[str, typer.Option(metavar="A,B,...", help="columns that are no features, parted by commas")]
Table = Annotated[Path, typer.Argument(metavar="FILE", help="CSV (also .csv.gz) or Parquet")]
DataDir = Annotated[Path | None, typer.Option(help="folder of the embedded PostgreSQL")]


class Design(StrEnum):
    """How the rows of a sample were drawn."""

    RANDOM = "random"
    CASE_CONTROL = "case_control"


class _Commands(TyperGroup):
    """Commands whose user's faults are told in one line."""

    def invoke(self, ctx: Any) -> Any:
        with _faults_in_one_line():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Default risk for card markets that have barely begun.",
)


@contextmanager
def _faults_in_one_line() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        with suppress(OSError):  # a terminal that was closed
            typer.echo("Stopped.", err=True)
        raise typer.Exit(130) from None
    except Exception as fault:
        if not isinstance(fault, _user_faults()):
            raise
        typer.echo(f"thetaprime: {fault}", err=True)
        raise typer.Exit(1) from None


def _user_faults() -> tuple[type[Exception], ...]:
    from app.client import ThetaprimeError
    from app.embedded_postgres import EmbeddedPostgresError
    from app.user_fault import UserFault

    return UserFault, ThetaprimeError, EmbeddedPostgresError


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Port = 8000,
    with_worker: Annotated[
        bool | None,
        typer.Option(
            "--with-worker/--without-worker",
            help="also run a worker for trainings  [default: with the embedded PostgreSQL only]",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Serve the API over DATABASE_URL, or over an embedded PostgreSQL where that is not set."""
    from app.commands import hosting

    hosting.serve(host, port, with_worker=with_worker, data_dir=data_dir)


@app.command()
def worker() -> None:
    """Run trainings from the queue of DATABASE_URL, one at a time."""
    from app.commands import hosting

    hosting.work()


@app.command()
def migrate(
    down_to: Annotated[
        str | None, typer.Option(metavar="REVISION", help="undo every migration after this one; 'base': all of them")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask before tables and their rows go")] = False,
) -> None:
    """Bring the database of DATABASE_URL to this version's tables, or back to an earlier version's."""
    from app.commands import hosting

    if down_to is not None and not yes:
        typer.confirm("Tables of later migrations go, with all their rows. Go on?", abort=True)
    hosting.migrate(down_to)


@app.command()
def train(
    product: ProductOption,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="CSV or Parquet to upload first; none: train on what is there"),
    ] = None,
    market_column: MarketColumn = "market",
    target_column: TargetColumn = "defaulted",
    exclude: Exclude = "",
    outcome: Annotated[str, typer.Option(help="what default means, where the product is new")] = "default",
    window_days: Annotated[int, typer.Option(min=1, max=3660, help="days until an outcome is known, if new")] = 365,
    learner: Annotated[
        str | None, typer.Option(metavar="NAME", help="few-shot method; none: the usual one (docs/learners.md)")
    ] = None,
    learner_option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="of the method, as often as needed (docs/learners.md)"),
    ] = None,
    imputer: Annotated[
        str | None, typer.Option(metavar="NAME", help="fills what accounts do not give; by itself where gaps are many")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the training")] = 0,
    activate: Annotated[bool, typer.Option("--activate", help="let the theta serve when it is learned")] = False,
    url: Url = URL,
) -> None:
    """Learn a theta from a file of mature markets: declares the product if it is new, uploads, waits."""
    from app.client import ThetaprimeClient
    from app.commands import tables
    from app.domain.recipes import IMPUTERS, LEARNERS
    from app.screen import Screen

    choice = tables.SourceChoice(market_column, target_column, _names(exclude), window_days, outcome)
    chosen = {"learner": (learner, LEARNERS), "imputer": (imputer, IMPUTERS)}
    for option, (name, known) in chosen.items():
        if name is not None and name not in known:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint=f"--{option}")
    named = {option: name for option, (name, _) in chosen.items() if name is not None}
    recipe = tables.recipe_of({"seed": seed, **named}, learner_option or [])
    with ThetaprimeClient(url) as client:
        tables.train(client, Screen(), product, file, choice, recipe, activate=activate)


@app.command()
def adapt(
    file: Table,
    product: ProductOption,
    market: MarketOption,
    design: Annotated[Design, typer.Option(help="how the rows were drawn")] = Design.RANDOM,
    account_column: Annotated[str, typer.Option(help="column with the account's reference")] = "account",
    target_column: TargetColumn = "defaulted",
    opened_column: Annotated[str, typer.Option(help="column with the day of opening")] = "opened_on",
    observed_column: Annotated[str, typer.Option(help="column with the day the outcome was looked at")] = "observed_on",
    currency: Annotated[
        str | None, typer.Option(metavar="EUR", help="declare the market, in this currency, where it is new")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="do all but keep")] = False,
    url: Url = URL,
) -> None:
    """Post a file of labelled accounts as a market's samples, which adapts theta to it."""
    from app.client import ThetaprimeClient
    from app.commands import tables
    from app.screen import Screen

    columns = tables.SampleColumns(account_column, target_column, opened_column, observed_column)
    with ThetaprimeClient(url) as client:
        tables.adapt(
            client, Screen(), product, market, file, columns, design=design.value, currency=currency, dry_run=dry_run
        )


@app.command()
def score(
    file: Table,
    product: ProductOption,
    market: MarketOption,
    output: Annotated[Path, typer.Option(help="where scores are written: .csv or .parquet")],
    reasons: Annotated[bool, typer.Option("--reasons", help="with reasons: about a millisecond a row more")] = False,
    url: Url = URL,
) -> None:
    """Score a file of accounts into another file, a row a row; a column `account` is carried along."""
    from app.client import ThetaprimeClient
    from app.commands import tables
    from app.screen import Screen

    with ThetaprimeClient(url) as client:
        tables.score(client, Screen(), product, market, file, output, reasons=reasons)


@app.command()
def card(
    product: ProductOption,
    version: Annotated[int, typer.Option(min=1, help="of the market's theta_prime, or of theta without --market")],
    market: Annotated[str | None, typer.Option("--market", help="slug of the market; none: a theta's card")] = None,
    url: Url = URL,
) -> None:
    """Print the model card of a theta or a theta_prime as JSON: what a committee has to know of it."""
    from app.client import ThetaprimeClient

    with ThetaprimeClient(url) as client:
        found = (
            client.get_theta_card(product, version)
            if market is None
            else client.get_theta_prime_card(product, market, version)
        )
    typer.echo(found.model_dump_json(indent=2))


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="your own CSV or Parquet; none: made-up data")] = None,
    market_column: Annotated[str | None, typer.Option(help="column with each row's market")] = None,
    target_column: Annotated[str | None, typer.Option(help="column with 1 = default, 0 = good")] = None,
    product_column: Annotated[
        str | None, typer.Option(help="column with each row's product; the largest product is taken")
    ] = None,
    product: Annotated[str | None, typer.Option(help="take this product instead of the largest")] = None,
    date_column: Annotated[str | None, typer.Option(help="column with the day of opening")] = None,
    exclude: Exclude = "",
    holdout: Annotated[str | None, typer.Option(help="market to play the new one")] = None,
    port: Port = 8000,
    data_dir: DataDir = None,
    threads: Annotated[int, typer.Option(min=1, max=256, help="threads of the training")] = 2,
    exit_after: Annotated[bool, typer.Option("--exit", help="end after the table, do not go on serving")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="a much shorter training, to try the machinery")] = False,
) -> None:
    """Learn a theta, post a new market's first 50 accounts, compare, and go on serving.

    Everything goes through the API. The demo's embedded PostgreSQL starts afresh each time; with DATABASE_URL a new
    product is added to that database and nothing in it is touched.
    """
    from app.demo.command import DemoChoice, run_demo
    from app.demo.portfolio import TableChoice

    table = None
    if data is not None:
        if market_column is None or target_column is None:
            raise typer.BadParameter("comes with --market-column and --target-column", param_hint="--data")
        table = TableChoice(
            market_column, target_column, product_column, product, date_column, _names(exclude), holdout
        )
    elif any((market_column, target_column, product_column, product, date_column, exclude, holdout)):
        raise typer.BadParameter("is missing: columns and markets are those of a file", param_hint="--data")
    run_demo(DemoChoice(data, table, port, data_dir, threads, exit_after=exit_after, quick=quick))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
