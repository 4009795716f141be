"""The command line over the running service: files in, one clear line for what the user can put right."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pandas
import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.cli import app
from app.client import ThetaprimeClient
from app.services.training_run import run_training
from app.store.database import Database
from tests.app import bank as data
from tests.app.bank import Bank
from tests.app.fake_engine import train_theta


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def refused(*arguments: str | Path, status: int = 1) -> str:
    """The one line that a refused command says."""
    result = run(*arguments)
    assert result.exit_code == status, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


@pytest.fixture
def url(client: httpx.Client) -> str:
    return str(client.base_url)


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    rows = [{**row.pop("features"), **row} for row in data.rows(9)]
    path = tmp_path / "samples.csv"
    pandas.DataFrame(rows).assign(remark="not a feature").to_csv(path, index=False)
    return path


@contextmanager
def training_worker(database: Database) -> Iterator[None]:
    """What a worker does, with the small engine: run the first training as soon as it is there."""
    stopping = threading.Event()

    def work() -> None:
        while not stopping.wait(0.02):
            with database.reading() as tx:
                ids = tx.exec_driver_sql("SELECT id FROM trainings WHERE status = 'queued'").scalars().all()
            for training_id in ids:
                run_training(database, training_id, train_theta)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def test_help_names_every_command() -> None:
    help_text = run("--help").output
    for command in ("serve", "worker", "migrate", "train", "adapt", "score", "card", "demo"):
        assert command in help_text
        assert run(command, "--help").exit_code == 0


def test_train_declares_uploads_learns_and_activates(url: str, database: Database, tmp_path: Path) -> None:
    path = tmp_path / "mature.csv"
    frame = pandas.DataFrame(
        {
            "state": ["east", "west"] * 10,
            "bad": ["yes", "no", "no", "no"] * 5,
            "annual income": [30_000, 45_500, 18_000, 21_250] * 5,
            "home": ["own", "rent", None, "rent"] * 5,
            "grade": ["A"] * 20,
        }
    )
    frame.to_csv(path, index=False)
    command = ("train", path, "--product", "gold", "--market-column", "state", "--target-column", "bad", "--url", url)
    with training_worker(database):
        options = ("--learner-option", "annealing_share=0.1", "--learner-option", "multi_step_loss=false")
        named = ("--learner", "maml_plus_plus", *options, "--imputer", "mean")
        result = run(*command, "--activate", "--seed", "4", *named)
    assert result.exit_code == 0, result.output
    assert "20 rows of 2 markets, 5 defaulted, uploaded" in result.output
    assert "theta 1: active" in result.output
    with ThetaprimeClient(url) as client:
        product = client.get_product("gold")
        assert product.active_theta_version == 1
        recipe = client.get_theta("gold", 1).recipe
        assert (recipe.seed, recipe.learner, recipe.imputer) == (4, "maml_plus_plus", "mean")
        assert recipe.learner_options == {"annealing_share": 0.1, "multi_step_loss": False}
    features = {feature.name: feature for feature in product.feature_schema.features}
    assert list(features) == ["annual_income", "home"], "a column of one value teaches nothing"
    assert (features["annual_income"].kind, features["annual_income"].minimum) == ("numeric", 0)
    assert features["home"].categories == ("own", "rent")
    assert "20 source rows already" in refused(*command)


@pytest.mark.parametrize(
    ("option", "name", "known"), [("--learner", "mamml", "map_bayes"), ("--imputer", "gian", "gain")]
)
def test_a_method_that_there_is_not_is_told_with_those_that_there_are(
    option: str, name: str, known: str, samples: Path
) -> None:
    result = run("train", samples, "--product", "gold", option, name)
    assert result.exit_code == 2
    assert f"'{name}' is none of" in (told := " ".join(result.output.replace("│", " ").split()))
    assert known in told


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("by_evidence=perhaps", "must be NAME=VALUE, true, false or a number, got 'by_evidence=perhaps'"),
        ("by_evidence=3", "by_evidence must be true, false or a number from 0 to 1"),
        ("first_order=true", "learner_options of meta_sgd are by_evidence, got 'first_order'"),
    ],
)
def test_an_option_that_the_method_does_not_have_is_told(option: str, told: str, samples: Path) -> None:
    answer = refused("train", samples, "--product", "gold", "--learner", "meta_sgd", "--learner-option", option)
    assert "--learner-option" in answer
    assert told in " ".join(answer.split())


def test_adapt_posts_a_file_and_score_reads_another(url: str, bank: Bank, samples: Path, tmp_path: Path) -> None:
    where = ("--product", "card", "--market", "north", "--url", url)
    rehearsed = run("adapt", samples, *where, "--dry-run")
    assert "theta_prime 1 of north: activate (dry run, nothing kept)" in rehearsed.output
    adapted = run("adapt", samples, *where)
    assert adapted.exit_code == 0, adapted.output
    assert "9 of 9 rows used, 3 defaulted" in adapted.output
    assert "north is scored by theta_prime 1" in adapted.output
    assert "9 rows set aside: already_sampled" in run("adapt", samples, *where).output
    for name, read in (("scores.csv", pandas.read_csv), ("scores.parquet", pandas.read_parquet)):
        result = run("score", samples, *where, "--output", tmp_path / name)
        assert result.exit_code == 0, result.output
        scores = read(tmp_path / name)
        assert scores["account"].tolist() == [f"A-{i}" for i in range(9)]
        assert scores["pd"].between(0, 1).all()
        assert set(scores["basis"]) == {"theta_prime"}
        assert (scores["pd_low"] < scores["pd"]).all()
        assert (scores["pd"] < scores["pd_high"]).all()
        assert set(scores["n_defaults"]) == {3}
        assert scores["reasons"].isna().all()


def test_score_writes_reasons_where_they_are_asked_for(url: str, bank: Bank, samples: Path, tmp_path: Path) -> None:
    command = ("score", samples, "--product", "card", "--market", "north", "--url", url, "--reasons", "--output")
    for name in ("scores.csv", "scores.parquet"):
        assert run(*command, tmp_path / name).exit_code == 0
    flat = pandas.read_csv(tmp_path / "scores.csv")["reasons"]
    listed = pandas.read_parquet(tmp_path / "scores.parquet")["reasons"]
    assert [entry.split(":")[0] for entry in flat[0].split()] == [reason["code"] for reason in listed[0]]
    assert listed[0][0]["code"] == "annual_income.above_reference"
    assert listed[0][0]["points"] < 0


def test_card_prints_json(url: str, bank: Bank) -> None:
    bank.post(data.rows(9))
    where = ("--product", "card", "--version", "1", "--url", url)
    theta, theta_prime = run("card", *where), run("card", *where, "--market", "north")
    assert (theta.exit_code, theta_prime.exit_code) == (0, 0)
    assert json.loads(theta.output)["theta_primes"][0]["market"] == "north"
    assert json.loads(theta_prime.output)["theta"]["version"] == 1
    assert "404 unknown_theta" in refused("card", "--product", "card", "--version", "9", "--url", url)


def test_adapt_declares_a_new_market_where_it_is_told_its_currency(url: str, bank: Bank, samples: Path) -> None:
    where = ("--product", "card", "--market", "south", "--url", url)
    assert "404 unknown_market" in refused("adapt", samples, *where)
    assert run("adapt", samples, *where, "--currency", "PLN").exit_code == 0
    with ThetaprimeClient(url) as client:
        assert client.get_market("card", "south").currency == "PLN"


def test_rows_without_a_label_or_a_feature_are_told_of(url: str, bank: Bank, samples: Path) -> None:
    where = ("--product", "card", "--market", "north", "--url", url)
    frame = pandas.read_csv(samples)
    frame.drop(columns="home").to_csv(samples, index=False)
    assert "no column home" in refused("adapt", samples, *where)
    frame.assign(defaulted=[None, *frame["defaulted"][1:]]).to_csv(samples, index=False)
    assert "1 rows have no label or no date" in refused("adapt", samples, *where)
    frame.assign(annual_income="much").to_csv(samples, index=False)
    assert "annual_income must hold numbers alone" in refused("score", samples, *where, "--output", "scores.csv")


def test_files_that_cannot_be_used_are_told_of(url: str, bank: Bank, samples: Path, tmp_path: Path) -> None:
    where = ("--product", "card", "--market", "north", "--url", url)
    assert "no file" in refused("score", tmp_path / "nothing.csv", *where, "--output", tmp_path / "s.csv")
    assert ".csv or .parquet" in refused("score", samples, *where, "--output", tmp_path / "scores.xlsx")
    assert "no folder" in refused("score", samples, *where, "--output", tmp_path / "nowhere" / "scores.csv")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and nothing more")
    assert "cannot be read" in refused("score", broken, *where, "--output", tmp_path / "s.csv")
    (tmp_path / "empty.csv").write_text("")
    assert "cannot be read" in refused("score", tmp_path / "empty.csv", *where, "--output", tmp_path / "s.csv")


def test_no_service_is_one_line(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.client.transport.PAUSES_S", (0.0,))
    line = refused("adapt", samples, "--product", "card", "--market", "north", "--url", "http://127.0.0.1:9")
    assert line.startswith("thetaprime: service_unreachable: No answer from http://127.0.0.1:9")


def test_the_demo_wants_its_columns_with_its_data(tmp_path: Path) -> None:
    for command, advice in (
        (("demo", "--data", tmp_path / "x.csv"), "comes with --market-column and --target-column"),
        (("demo", "--holdout", "CA"), "is missing: columns and markets are those of a file"),
    ):
        result = run(*command)
        assert result.exit_code == 2
        assert advice in re.sub(r"[\s│]+", " ", result.stderr)
