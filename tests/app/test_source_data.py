"""Source data: tables of every kind come in whole or not at all."""

import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest
from httpx import Client, Response

from app.domain.schema import FeatureSchema
from app.main import create_app
from app.services import tables
from app.settings import Settings
from app.store import products, source_rows
from app.store.database import Database
from tests.app.bank import CSV, PRODUCT, Bank
from tests.app.fake_engine import FAKE_ENGINE
from tests.app.serving import serving

ARROW, PARQUET, LINES = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet", "application/jsonl"
TABLE = {
    "market": ["CA", "CA", "NY"],
    "defaulted": [True, False, False],
    "annual_income": [30_000.0, None, 12_500.5],
    "utilisation": [0.5, 0.25, None],
    "home": ["rent", None, "own"],
}
TOMORROW = datetime.now(UTC).date() + timedelta(days=2)


@pytest.fixture
def bank(client: Client, database: Database) -> Bank:
    """A product and nothing else."""
    bank = Bank(client, database)
    bank.declare_product()
    return bank


def load(bank: Bank, content: bytes | str, media_type: str = "text/csv", **query: Any) -> Response:
    return bank.client.post(
        f"{bank.product}/source-data", content=content, headers={"Content-Type": media_type}, params=query
    )


def as_csv(table: pyarrow.Table) -> bytes:
    return table.to_pandas().to_csv(index=False).encode()


def as_parquet(table: pyarrow.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue()


def as_arrow(table: pyarrow.Table) -> bytes:
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def as_lines(table: pyarrow.Table) -> bytes:
    return "\n".join(map(json.dumps, table.to_pylist())).encode()


FORMS: dict[str, Callable[[pyarrow.Table], bytes]] = {
    "text/csv": as_csv,
    PARQUET: as_parquet,
    ARROW: as_arrow,
    LINES: as_lines,
    "application/x-ndjson": as_lines,
}


def stored(bank: Bank) -> pandas.DataFrame:
    with bank.database.reading() as tx:
        owner = products.find_product(tx, "card")
        assert owner is not None
        return source_rows.load_frame(tx, owner.id, owner.product.feature_schema)


@pytest.mark.parametrize("media_type", FORMS)
def test_every_form_is_stored_alike(bank: Bank, media_type: str) -> None:
    answer = load(bank, FORMS[media_type](pyarrow.table(TABLE)), media_type)
    assert answer.status_code == 201
    assert answer.json() == {
        "n_rows": 3,
        "n_stored": 3,
        "n_immature": 0,
        "n_defaults": 1,
        "markets": [
            {"market": "CA", "n_rows": 2, "n_defaults": 1},
            {"market": "NY", "n_rows": 1, "n_defaults": 0},
        ],
    }
    frame = stored(bank)
    assert list(frame) == ["row_id", *TABLE]
    assert frame["row_id"].is_monotonic_increasing
    assert frame["defaulted"].tolist() == TABLE["defaulted"]
    assert frame["home"].tolist() == TABLE["home"]
    np.testing.assert_array_equal(frame["annual_income"], np.array(TABLE["annual_income"], dtype=float))
    assert frame.dtypes.astype(str).tolist() == ["int64", "object", "bool", "float64", "float64", "object"]


def test_loads_add_up_and_are_counted_by_market(bank: Bank) -> None:
    for _ in range(2):
        load(bank, as_csv(pyarrow.table(TABLE)))
    page = bank.client.get(f"{bank.product}/source-data", params={"limit": 1}).json()
    assert page == {"items": [{"market": "CA", "n_rows": 4, "n_defaults": 2}], "next_after": "CA"}
    rest = bank.client.get(f"{bank.product}/source-data", params={"after": "CA"}).json()
    assert rest == {"items": [{"market": "NY", "n_rows": 2, "n_defaults": 0}], "next_after": None}


def test_columns_may_have_other_names_and_more_may_be_ignored(bank: Bank) -> None:
    renamed = pyarrow.table(TABLE).rename_columns(["state", "bad", "annual_income", "utilisation", "home"])
    answer = load(
        bank, as_csv(renamed.append_column("extra", [[1, 2, 3]])), market_column="state", target_column="bad",
        ignore_column=["extra", "never there"],
    )  # fmt: skip
    assert (answer.status_code, answer.json()["n_stored"]) == (201, 3)


def test_a_feature_that_the_table_lacks_is_missing(bank: Bank) -> None:
    assert load(bank, "market,defaulted,home\nCA,1,rent\n").status_code == 201
    assert stored(bank)["annual_income"].isna().all()


@pytest.mark.parametrize("label", ["1", "0", "true", "False", "TRUE", "1.0", "0.0"])
def test_labels_as_text(bank: Bank, label: str) -> None:
    assert load(bank, f"market,defaulted\nCA,{label}\n").status_code == 201
    assert stored(bank)["defaulted"].tolist() == [label.lower() in ("1", "true", "1.0")]


def test_labels_and_numbers_of_other_kinds(bank: Bank) -> None:
    table = {
        "market": pyarrow.array(["CA", "NY", "CA"]).dictionary_encode(),
        "defaulted": pyarrow.array([1, 0, 1], pyarrow.int8()),
        "annual_income": pyarrow.array([Decimal("10.25"), None, Decimal("3")], pyarrow.decimal128(8, 2)),
        "utilisation": pyarrow.array([0, 1, 2], pyarrow.uint16()),
    }
    assert load(bank, as_parquet(pyarrow.table(table)), PARQUET).status_code == 201
    frame = stored(bank)
    assert frame["defaulted"].tolist() == [True, False, True]
    assert frame["annual_income"].dropna().tolist() == [10.25, 3.0]


def test_young_rows_are_counted_and_left_out(bank: Bank) -> None:
    table = {
        "market": ["CA"] * 4,
        "defaulted": [True, True, False, False],
        "opened": pyarrow.array([date(2023, 1, 1)] * 3 + [None], pyarrow.date32()),
        "seen": [datetime(2024, 1, 1, 12), datetime(2023, 6, 1), datetime(2023, 6, 1), None],
    }
    answer = load(
        bank, as_parquet(pyarrow.table(table)), PARQUET, opened_on_column="opened", observed_on_column="seen"
    ).json()
    assert (answer["n_rows"], answer["n_stored"], answer["n_immature"], answer["n_defaults"]) == (4, 2, 2, 1)
    assert stored(bank)["defaulted"].tolist() == [True, False]


def test_every_fault_is_listed_by_row_and_nothing_is_stored(bank: Bank) -> None:
    lines = [
        "market,defaulted,annual_income,utilisation,home,opened,seen",
        "CA,1,30000,0.5,rent,2023-01-01,2024-06-01",
        "CA,yes,-1,0.5,rent,2023-01-01,2022-06-01",
        f",0,abc,9,{'x' * 300},01.01.2023,{TOMORROW}",
        f"CA,0,nan,inf,rent,2023-01-01,{TOMORROW}",
        "CA,0,1e999,1_0,rent,2023-01-01,",
    ]
    answer = load(bank, "\n".join(lines), opened_on_column="opened", observed_on_column="seen")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rows")
    found = sorted((fault["row"], fault["field"], fault["rule"]) for fault in answer.json()["errors"])
    assert found == [
        (1, "defaulted", "must be true or false, 1 or 0"),
        (1, "features.annual_income", "must be at least 0"),
        (1, "observed_on", "must not be before opened_on"),
        (2, "features.annual_income", "must be a number"),
        (2, "features.home", "must have 1 to 200 characters"),
        (2, "features.utilisation", "must be at most 2"),
        (2, "market", "must be a name of 1 to 100 characters"),
        (2, "opened", "must be a date, YYYY-MM-DD"),
        (2, "opened_on", "is given with observed_on or not at all"),
        (3, "features.annual_income", "must be a finite number"),
        (3, "features.utilisation", "must be a finite number"),
        (3, "observed_on", "must not be in the future"),
        (4, "features.annual_income", "must be a finite number"),
        (4, "features.utilisation", "must be a number"),
        (4, "opened_on", "is given with observed_on or not at all"),
    ]
    assert "abc" not in answer.text
    assert bank.count("source_rows") == 0


def test_rows_are_numbered_across_batches_and_a_late_fault_undoes_the_early_ones(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", 2)
    table = {"market": ["CA"] * 7, "defaulted": [1, 0, 1, 0, 1, 3, 0]}
    for media_type, write in FORMS.items():
        answer = load(bank, write(pyarrow.table(table)), media_type)
        assert [(fault["row"], fault["field"]) for fault in answer.json()["errors"]] == [(5, "defaulted")]
    assert bank.count("source_rows") == 0


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        ("market,defaulted,colour", ["colour"]),
        ("state,defaulted", ["market", "state"]),
        ("market,bad", ["bad", "defaulted"]),
    ],
)
def test_columns_that_nobody_knows_or_finds_are_named_once(bank: Bank, header: str, fields: list[str]) -> None:
    body = "\n".join([header, *[",".join("1" * (header.count(",") + 1))] * 20])
    answer = load(bank, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_rows")
    assert [fault["field"] for fault in answer.json()["errors"]] == fields


GOOD_PARQUET = as_parquet(pyarrow.table(TABLE))
GOOD_ARROW = as_arrow(pyarrow.table(TABLE))


@pytest.mark.parametrize(
    ("content", "media_type", "status", "problem"),
    [
        (b"", "text/csv", 422, "corrupt_table"),
        (b"market,market\nCA,1\n", "text/csv", 422, "corrupt_table"),
        (b"market,defaulted\nCA\n", "text/csv", 422, "invalid_rows"),
        (b'market,defaulted\n"CA,1\n', "text/csv", 422, "corrupt_table"),
        (b"market,defaulted\n\xff\xfe,1\n", "text/csv", 422, "corrupt_table"),
        (b"market,defaulted,home\nCA,1,a\x00b\n", "text/csv", 422, "invalid_rows"),
        (b"market,defaulted,home\nCA,1," + b"x" * 200_000 + b"\n", "text/csv", 422, "corrupt_table"),
        (b"", PARQUET, 422, "corrupt_table"),
        (b"PAR1", PARQUET, 422, "corrupt_table"),
        (GOOD_PARQUET[:-20], PARQUET, 422, "corrupt_table"),
        (GOOD_PARQUET[:200] + b"\x00" * 40 + GOOD_PARQUET[240:], PARQUET, 422, "corrupt_table"),
        (GOOD_ARROW, PARQUET, 422, "corrupt_table"),
        (b"", ARROW, 422, "corrupt_table"),
        (GOOD_PARQUET, ARROW, 422, "corrupt_table"),
        (GOOD_ARROW[: len(GOOD_ARROW) // 2], ARROW, 422, "corrupt_table"),
        (b'{"market": "CA", "defaulted": true', LINES, 422, "corrupt_table"),
        (b'{"market": "CA", "defaulted": NaN}', LINES, 422, "corrupt_table"),
        (b'{"market": "CA", "market": "NY", "defaulted": true}', LINES, 422, "corrupt_table"),
        (b'{"market": "CA", "defaulted": true}\n[1]\n', LINES, 422, "invalid_rows"),
        (b'{"market": "' + b"x" * 2**20 + b'"}', LINES, 422, "corrupt_table"),
        (b'{"market": ["CA"], "defaulted": {"a": 1}}', LINES, 422, "invalid_rows"),
        (b"[]", "application/json", 415, "unsupported_media_type"),
        (b"market,defaulted\nCA,1\n", "text/csv; charset=utf-16", 415, "unsupported_media_type"),
    ],
)  # fmt: skip
def test_a_damaged_table_is_refused_whole(
    shared_bank: Bank, content: bytes, media_type: str, status: int, problem: str
) -> None:
    answer = load(shared_bank, content, media_type)
    assert (answer.status_code, answer.json()["code"]) == (status, problem), answer.text
    assert shared_bank.count("source_rows") == 0


def test_arrow_offsets_that_point_outside_are_refused(bank: Bank) -> None:
    """Unchecked, such a column would be read from beyond its memory."""
    good = as_arrow(pyarrow.table({"market": ["x" * 77], "defaulted": [True]}))
    offsets = np.array([0, 77], np.int32).tobytes()
    before, _, after = good.rpartition(offsets)
    answer = load(bank, before + np.array([0, 10**6], np.int32).tobytes() + after, ARROW)
    assert (answer.status_code, answer.json()["code"]) == (422, "corrupt_table")


def test_an_unknown_product_is_not_found(client: Client) -> None:
    answer = client.post("/v1/products/none/source-data", content=b"market,defaulted\n", headers=CSV)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_product")
    assert client.get("/v1/products/none/source-data").json()["code"] == "unknown_product"


@pytest.mark.parametrize(
    "query",
    [{"opened_on_column": "opened"}, {"market_column": ""}, {"market_colum": "state"}, {"limit": "7"}],
)
def test_unclear_columns_are_refused(shared_bank: Bank, query: dict[str, str]) -> None:
    answer = load(shared_bank, as_csv(pyarrow.table(TABLE)), **query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
    assert shared_bank.count("source_rows") == 0


def test_uploads_have_a_limit_of_their_own(database_url: str, database: Database) -> None:
    settings = Settings(database_url=database_url, n_threads=2, max_body_bytes=4096, max_upload_bytes=20_000)
    with serving(create_app(settings, FAKE_ENGINE)) as client:
        bank = Bank(client, database)
        bank.declare_product()
        line = b"CA,1\n"
        assert load(bank, b"market,defaulted\n" + line * 3000).status_code == 201
        too_large = load(bank, b"market,defaulted\n" + line * 5000)
        assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")
        in_pieces = client.post(f"{bank.product}/source-data", content=(line * 100 for _ in range(50)), headers=CSV)
        assert (in_pieces.status_code, in_pieces.json()["code"]) == (413, "body_too_large")
        ordinary = client.post("/v1/products", json=PRODUCT | {"title": "x" * 5000})
        assert (ordinary.status_code, ordinary.json()["code"]) == (413, "body_too_large")
    assert bank.count("source_rows") == 3000


def test_reading_stops_where_there_are_too_many_faults(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.source_data.MOST_FAULTS", 10)
    monkeypatch.setattr(tables, "BATCH_ROWS", 4)
    answer = load(bank, "market,defaulted\n" + "CA,x\n" * 1000)
    assert len(answer.json()["errors"]) == 12


def test_rows_come_back_in_the_order_asked_for(bank: Bank) -> None:
    ids = bank.load_source("A,0,1,,own\nB,1,2,,own\nC,0,3,,own\n")
    with bank.database.reading() as tx:
        found = source_rows.fetch_by_ids(tx, [ids[2], ids[0]])
        assert [row.market for row in found] == ["C", "A"]
        with pytest.raises(LookupError, match="1 of 2 source rows are gone"):
            source_rows.fetch_by_ids(tx, [ids[0], 10**9])


def test_real_loans_come_in_whole(bank: Bank, data_folder: Path) -> None:
    """40,000 loans of 50 states, as they are published: gaps, text and all."""
    loans = pandas.read_parquet(data_folder / "lendingclub.parquet")
    features = [name for name in loans if name not in ("market", "product", "default", "issued", "zip3")]
    features = [name for name in features if not name.startswith("lender_")]
    kinds = {name: "numeric" if pandas.api.types.is_numeric_dtype(loans[name]) else "categorical" for name in features}
    schema = {"features": [{"name": name, "kind": kind} for name, kind in kinds.items()]}
    bank.declare_product(slug="loans", feature_schema=schema)
    ignored = [name for name in loans if name not in (*features, "market", "default")]
    answer = bank.client.post(
        "/v1/products/loans/source-data",
        content=(data_folder / "lendingclub.parquet").read_bytes(),
        headers={"Content-Type": PARQUET},
        params={"target_column": "default", "ignore_column": ignored},
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["n_stored"] == len(loans)
    assert answer.json()["n_defaults"] == int(loans["default"].sum())
    with bank.database.reading() as tx:
        owner = products.find_product(tx, "loans")
        assert owner is not None
        frame = source_rows.load_frame(tx, owner.id, FeatureSchema.model_validate(schema))
    for name, kind in kinds.items():
        if kind == "numeric":
            np.testing.assert_array_equal(frame[name], loans[name].astype("float64"))
        else:
            assert frame[name].tolist() == loans[name].astype("object").where(loans[name].notna(), None).tolist()
