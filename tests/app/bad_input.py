"""Bad input of every kind, each with the status, the code and the words that must come back."""

import io
import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from tests.app.bank import MARKET, PRODUCT, features, row, rows

NAME = "Jane.Doe-1970"
INCOME = 38111.25
STREET = "Elm-Street-13"
PERSONAL = (NAME, str(INCOME), STREET)

LIMITS: dict[str, Any] = {
    "max_body_bytes": 60_000,
    "max_upload_bytes": 120_000,
    "max_rows": 50,
    "max_json_depth": 12,
    "max_influence_samples": 5,
}

CARD = "/v1/products/card"
NORTH = f"{CARD}/markets/north"
BARE = f"{CARD}/markets/bare"
SAMPLES, SCORES, THETA_PRIMES = f"{NORTH}/samples", f"{NORTH}/scores", f"{NORTH}/theta-primes"
ACCOUNT = f"{NORTH}/accounts/{NAME}"
SOURCE = f"{CARD}/source-data"

JSON, CSV, JSONL = "application/json", "text/csv", "application/jsonl"
PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"


@dataclass(frozen=True)
class Case:
    """One request and what must come back; `told` stands in the body of the answer."""

    name: str
    method: str
    path: str
    status: int
    code: str | None
    told: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes | None:
        return self.body if self.body is None or isinstance(self.body, bytes) else json.dumps(self.body).encode()


def put(name: str, path: str, body: Any, status: int, code: str, told: str, **headers: str) -> Case:
    return Case(name, "PUT", path, status, code, told, body, {"Content-Type": JSON} | headers)


def post(
    name: str, path: str, body: Any, status: int, code: str | None, told: str, media_type: str = JSON, **headers: str
) -> Case:
    named = {header.replace("_", "-"): value for header, value in headers.items()}
    return Case(name, "POST", path, status, code, told, body, {"Content-Type": media_type} | named)


def get(name: str, path: str, status: int, code: str, told: str, **headers: str) -> Case:
    return Case(name, "GET", path, status, code, told, None, headers)


def sent(*changes: dict[str, Any], design: str = "random", **more: Any) -> dict[str, Any]:
    """Samples of one account each, good but for the changes."""
    return {
        "design": design,
        "rows": [row(**{"account": f"{NAME}-{i}"} | change) for i, change in enumerate(changes)],
        **more,
    }


def holding(**values: Any) -> dict[str, Any]:
    """Samples of one account whose features are good but for some values."""
    return sent({"features": features(income=INCOME) | values})


def account(**values: Any) -> dict[str, Any]:
    return {"features": features(income=INCOME) | values}


def raw_account(income: str) -> bytes:
    return b'{"features": {"annual_income": %s, "home": "%s"}}' % (income.encode(), STREET.encode())


def table(**columns: list[Any]) -> pyarrow.Table:
    usual = {"market": ["m", "m"], "defaulted": [True, False], "annual_income": [INCOME, 1.0], "home": [STREET, "own"]}
    return pyarrow.table(usual | columns)


def parquet(found: pyarrow.Table) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(found, file)
    return file.getvalue()


def arrow(found: pyarrow.Table) -> bytes:
    file = io.BytesIO()
    with pyarrow.ipc.new_stream(file, found.schema) as stream:
        stream.write_table(found)
    return file.getvalue()


def broken_inside(content: bytes) -> bytes:
    """The same bytes with a stretch of the middle overwritten."""
    middle = len(content) // 2
    return content[:middle] + b"\xff" * 40 + content[middle + 40 :]


TOMORROW = (date.today() + timedelta(days=2)).isoformat()
CSV_HEAD = b"market,defaulted,annual_income,utilisation,home\n"
NESTED = b'{"features": {"annual_income": ' + b"[" * 40 + b"]" * 40 + b"}}"
HUGE = b'{"features": {"home": "' + b"x" * 70_000 + b'"}}'

JSON_ITSELF = [
    put("NaN", ACCOUNT, raw_account("NaN"), 400, "invalid_json", "NaN is not JSON"),
    put("Infinity", ACCOUNT, raw_account("Infinity"), 400, "invalid_json", "Infinity is not JSON"),
    put("-Infinity", ACCOUNT, raw_account("-Infinity"), 400, "invalid_json", "-Infinity is not JSON"),
    put("1e400", ACCOUNT, raw_account("1e400"), 400, "invalid_json", "too large for a 64-bit float"),
    put("an integer of 5,000 digits", ACCOUNT, raw_account("9" * 5000), 400, "invalid_json", "64 bits"),
    put("an integer beyond 64 bits", ACCOUNT, raw_account(str(2**63)), 400, "invalid_json", "64 bits"),
    put("a lone surrogate", ACCOUNT, b'{"features": {"home": "\\ud800"}}', 400, "invalid_json", "surrogate"),
    put("NUL in a string", ACCOUNT, b'{"features": {"home": "\\u0000"}}', 400, "invalid_json", "NUL"),
    put(
        "duplicate keys",
        ACCOUNT,
        b'{"features": {"home": "a", "home": "b"}}',
        400,
        "invalid_json",
        "'home' stands twice",
    ),
    put(
        "duplicate names",
        ACCOUNT,
        f'{{"{NAME} x": 1, "{NAME} x": 2}}'.encode(),
        400,
        "invalid_json",
        "A key stands twice",
    ),
    put("not UTF-8", ACCOUNT, b'{"features": {"home": "\xff"}}', 400, "invalid_json", "not UTF-8"),
    put("UTF-16", ACCOUNT, json.dumps(account()).encode("utf-16"), 400, "invalid_json", "not UTF-8"),
    put("a byte order mark", ACCOUNT, b"\xef\xbb\xbf{}", 400, "invalid_json", "byte order mark"),
    put("cut short", ACCOUNT, b'{"features": {"home": "Elm-Street-13"', 400, "invalid_json", "line 1, column 38"),
    put("two documents", ACCOUNT, b"{} {}", 400, "invalid_json", "Extra data"),
    put("too deep", ACCOUNT, NESTED, 400, "invalid_json", "deeper than 12"),
    put("far too deep", ACCOUNT, b"[" * 50_000, 400, "invalid_json", "deeper than 12"),
    put("too many bytes", ACCOUNT, HUGE, 413, "body_too_large", "60,000 bytes"),
    put("nothing", ACCOUNT, b"", 422, "invalid_body", "The body is empty"),
    put(
        "a form",
        ACCOUNT,
        b"home=rent",
        415,
        "unsupported_media_type",
        "application/json",
        **{"Content-Type": "application/x-www-form-urlencoded"},
    ),
    put(
        "compressed",
        ACCOUNT,
        account(),
        415,
        "unsupported_media_type",
        "Content-Encoding",
        **{"Content-Encoding": "gzip"},
    ),
    put(
        "another charset",
        ACCOUNT,
        account(),
        415,
        "unsupported_media_type",
        "UTF-8",
        **{"Content-Type": f"{JSON}; charset=latin-1"},
    ),
    put("no object", ACCOUNT, [NAME], 422, "invalid_body", "must be an object"),
]

ADDRESSES = [
    get("an unknown path", f"/v1/{NAME}", 404, "not_found", "No such path"),
    get("a path without its version", "/products/card", 404, "not_found", "No such path"),
    get("a path with a slash too many", f"{NORTH}/", 404, "not_found", "No such path"),
    Case("another method", "DELETE", ACCOUNT, 405, "method_not_allowed", "Method not allowed"),
    get("an unknown product", "/v1/products/none", 404, "unknown_product", "no product 'none'"),
    get("an unknown market", f"{CARD}/markets/none", 404, "unknown_market", "no market 'none'"),
    get("an unknown account", f"{NORTH}/accounts/{NAME}-9/score", 404, "unknown_account", "PUT its features first"),
    get("an unknown score", f"/v1/scores/{'0' * 8}-0000-4000-8000-{'0' * 12}", 404, "unknown_score", "no score"),
    get("a score id that is none", f"/v1/scores/{NAME}", 422, "invalid_parameter", "must be a UUID"),
    get(
        "an unknown explanation",
        f"/v1/scores/{'0' * 8}-0000-4000-8000-{'0' * 12}/explanation",
        404,
        "unknown_score",
        "no score",
    ),
    get("an explanation of a name", f"/v1/scores/{NAME}/explanation", 422, "invalid_parameter", "must be a UUID"),
    get("a market name that is none", f"{CARD}/markets/a%20b", 422, "invalid_parameter", "path.market"),
    get("an account that is none", f"{NORTH}/accounts/{NAME}%20x", 422, "invalid_parameter", "path.account"),
    get("NUL in a path", f"{NORTH}/accounts/{NAME}%00", 422, "invalid_parameter", "NUL"),
    get("an unknown query key", f"{CARD}?verbose=1", 422, "invalid_parameter", "allowed: none"),
    post("a misspelt dry_run", f"{SAMPLES}?dryrun=true", sent({}), 422, "invalid_parameter", "allowed: dry_run"),
    post(
        "a repeated query key",
        f"{SAMPLES}?dry_run=true&dry_run=false",
        sent({}),
        422,
        "invalid_parameter",
        "must be given once",
    ),
    post(
        "a dry_run that is no boolean",
        f"{SAMPLES}?dry_run=perhaps",
        sent({}),
        422,
        "invalid_parameter",
        "must be true or false",
    ),
    get("no page at all", "/v1/products?limit=0", 422, "invalid_parameter", "must be at least 1"),
    get("too long a page", "/v1/products?limit=100000", 422, "invalid_parameter", "must be at most"),
    get("a limit of nan", "/v1/products?limit=nan", 422, "invalid_parameter", "must be an integer"),
    get(
        "a place beyond 64 bits", f"{THETA_PRIMES}?after=9223372036854775808", 422, "invalid_parameter", "must be below"
    ),
    get("NUL in a query", "/v1/products?after=%00", 422, "invalid_parameter", "must not hold NUL"),
    get("a version beyond 32 bits", f"{THETA_PRIMES}?after={2**31}", 422, "invalid_parameter", "must be below"),
    get("another picture", "/v1/ops/markets", 406, "not_acceptable", "image/svg+xml", Accept="image/png"),
    post(
        "an odd idempotency key",
        SAMPLES,
        sent({}),
        422,
        "invalid_parameter",
        "header.Idempotency-Key",
        Idempotency_Key="a b",
    ),
    post(
        "too long an idempotency key",
        SAMPLES,
        sent({}),
        422,
        "invalid_parameter",
        "header.Idempotency-Key",
        Idempotency_Key="a" * 201,
    ),
    post("a used idempotency key", SAMPLES, sent({}, {}), 409, "idempotency_conflict", "fresh", Idempotency_Key="used"),
]

ROWS = [
    post(
        "text for a number",
        SAMPLES,
        holding(annual_income=NAME),
        422,
        "invalid_rows",
        '"features.annual_income", "rule": "must be a number", "row": 0',
    ),
    post("true for a number", SAMPLES, holding(annual_income=True), 422, "invalid_rows", "must be a number"),
    post("a list for a number", SAMPLES, holding(annual_income=[INCOME]), 422, "invalid_rows", "must be a number"),
    post("a number for a category", SAMPLES, holding(home=INCOME), 422, "invalid_rows", "must be a string"),
    post("an empty category", SAMPLES, holding(home=""), 422, "invalid_rows", "1 to 200 characters"),
    post("an overlong category", SAMPLES, holding(home=STREET * 50), 422, "invalid_rows", "1 to 200 characters"),
    post(
        "an unknown feature",
        SAMPLES,
        holding(maiden_name=NAME),
        422,
        "invalid_rows",
        "is not a feature of this product",
    ),
    post("below the range", SAMPLES, holding(annual_income=-INCOME), 422, "invalid_rows", "must be at least 0"),
    post("above the range, of no person", SAMPLES, holding(utilisation=2.5), 422, "invalid_rows", '"value": 2.5'),
    post(
        "features that are no object", SAMPLES, sent({"features": [INCOME]}), 422, "invalid_rows", "must be an object"
    ),
    post("a label of 1", SAMPLES, sent({"defaulted": 1}), 422, "invalid_rows", "must be true or false"),
    post("no label", SAMPLES, sent({"defaulted": None}), 422, "invalid_rows", "must be true or false"),
    post("a date without its day", SAMPLES, sent({"opened_on": "2023-01"}), 422, "invalid_rows", "YYYY-MM-DD"),
    post("a date that is none", SAMPLES, sent({"opened_on": "2023-02-30"}), 422, "invalid_rows", "YYYY-MM-DD"),
    post(
        "observed before it was opened",
        SAMPLES,
        sent({"days": -1}),
        422,
        "invalid_rows",
        "must not be before opened_on",
    ),
    post(
        "observed in the future",
        SAMPLES,
        sent({"observed_on": TOMORROW}),
        422,
        "invalid_rows",
        "must not be in the future",
    ),
    post(
        "an account that is no reference",
        SAMPLES,
        sent({"account": f"{NAME} x"}),
        422,
        "invalid_rows",
        "letters, digits",
    ),
    post("an account that is a number", SAMPLES, sent({"account": 17}), 422, "invalid_rows", "letters, digits"),
    post("an unknown field of a row", SAMPLES, sent({"nickname": NAME}), 422, "invalid_rows", "and nothing else"),
    post(
        "a row that is no object",
        SAMPLES,
        {"design": "random", "rows": [NAME]},
        422,
        "invalid_rows",
        "must be an object",
    ),
    post("the second of two rows", SAMPLES, sent({}, {"defaulted": "no"}), 422, "invalid_rows", '"row": 1'),
    post("no rows", SAMPLES, {"design": "random", "rows": []}, 422, "invalid_body", "at least 1 item"),
    post("too many rows", SAMPLES, {"design": "random", "rows": rows(51)}, 413, "too_many_rows", "at most 50"),
    post("no design", SAMPLES, {"rows": rows(3)}, 422, "invalid_body", '"design", "rule": "is required"'),
    post(
        "an unknown design", SAMPLES, sent({}, design=NAME), 422, "invalid_body", "must be 'random' or 'case_control'"
    ),
    post("an unknown field", SAMPLES, sent({}, dry_run=True), 422, "invalid_body", "is not a field of this request"),
    post(
        "too many inner steps",
        SAMPLES,
        sent({}, recipe={"inner_steps": 1000}),
        422,
        "invalid_body",
        "must be at most 20",
    ),
    post("a seed of 1.5", SAMPLES, sent({}, recipe={"seed": 1.5}), 422, "invalid_body", "must be an integer"),
    post(
        "mixed designs",
        f"{CARD}/markets/random/samples",
        sent({}, design="case_control"),
        422,
        "mixed_designs",
        "are random; these are case_control",
    ),
    post(
        "one class: goods by label",
        SAMPLES,
        sent({}, {}, design="case_control"),
        422,
        "defaults_required",
        "Goods alone",
    ),
    post(
        "one class: defaulters, no rate",
        f"{BARE}/samples",
        sent({"defaulted": True}),
        422,
        "base_rate_required",
        "declare the market's base rate",
    ),
    post(
        "by label, no rate",
        f"{BARE}/samples",
        sent({"defaulted": True}, {}, design="case_control"),
        422,
        "base_rate_required",
        "Rows drawn by label",
    ),
    post("no theta to adapt", "/v1/products/idle/markets/north/samples", sent({}), 409, "no_active_theta", "train one"),
    post("immature accounts", SAMPLES, sent({"days": 30}), 201, None, '"reason":"immature"'),
    post(
        "an account twice, dry",
        f"{SAMPLES}?dry_run=true",
        sent({"account": NAME}, {"account": NAME}),
        201,
        None,
        '"reason":"repeated"',
    ),
    post(
        "an account sampled before, dry",
        f"{CARD}/markets/random/samples?dry_run=true",
        {"design": "random", "rows": rows(2)},
        201,
        None,
        '"reason":"already_sampled"',
    ),
]

LABELS = {"defaulted": False, "opened_on": "2023-01-01", "observed_on": "2024-06-01"}
OUTCOMES = [
    post(
        "an outcome of nobody scored",
        f"{NORTH}/outcomes",
        {"rows": [{"account": NAME} | LABELS]},
        422,
        "invalid_rows",
        '"account", "rule": "has no score in this market", "row": 0',
    ),
    post(
        "an outcome of a name for a score",
        f"{NORTH}/outcomes",
        {"rows": [{"score": NAME} | LABELS]},
        422,
        "invalid_rows",
        "a UUID",
    ),
    post("an outcome of nothing", f"{NORTH}/outcomes", {"rows": [LABELS]}, 422, "invalid_rows", "or else account"),
    post(
        "an outcome with features",
        f"{NORTH}/outcomes",
        {"rows": [account() | {"account": NAME} | LABELS]},
        422,
        "invalid_rows",
        "and nothing else",
    ),
]

NOBODY = table().select(["annual_income", "home"])[:0]
BATCHES = [
    post("neither rows nor columns", SCORES, {"accounts": [NAME]}, 422, "invalid_body", "must be"),
    post("rows and columns", SCORES, {"rows": [], "columns": {}}, 422, "invalid_body", "must be"),
    post("no rows to score", SCORES, {"rows": []}, 422, "invalid_body", "no rows"),
    post(
        "columns of two lengths",
        SCORES,
        {"columns": {"utilisation": [0.1, 0.2], "annual_income": [INCOME]}},
        422,
        "invalid_body",
        "equally long lists",
    ),
    post(
        "a column that is no list", SCORES, {"columns": {"utilisation": 0.1}}, 422, "invalid_body", "equally long lists"
    ),
    post(
        "an unknown column",
        SCORES,
        {"columns": {"height": [1.8]}},
        422,
        "invalid_body",
        "is not a feature of this product",
    ),
    post("true in a column", SCORES, {"columns": {"annual_income": [INCOME, True]}}, 422, "invalid_rows", '"row": 1'),
    post("too many to score", SCORES, {"columns": {"utilisation": [0.1] * 51}}, 413, "too_many_rows", "50"),
    post("NaN to score", SCORES, b'{"columns": {"utilisation": [NaN]}}', 400, "invalid_json", "NaN is not JSON"),
    post("XML to score", SCORES, b"<rows/>", 415, "unsupported_media_type", CSV, "application/xml"),
    post(
        "a CSV with a word for a number",
        SCORES,
        f"annual_income\n{NAME}\n".encode(),
        422,
        "invalid_rows",
        "must be a number",
        CSV,
    ),
    post("a CSV with nan", SCORES, b"annual_income\nnan\n", 422, "invalid_rows", "must be a finite number", CSV),
    post("a CSV with too many cells", SCORES, b"annual_income\n1,2\n", 422, "invalid_rows", "must have 1 cells", CSV),
    post(
        "an Arrow stream cut short",
        SCORES,
        arrow(table())[:-200],
        422,
        "corrupt_table",
        "cannot be read to its end",
        ARROW,
    ),
    post("no Arrow stream at all", SCORES, NAME.encode(), 422, "corrupt_table", "cannot be read to its end", ARROW),
    post("a header and nobody to score", SCORES, b"home\n", 422, "invalid_body", "at least 1 row", CSV),
    post("a Parquet of nobody", SCORES, parquet(NOBODY), 422, "invalid_body", "at least 1 row", PARQUET),
    post("an Arrow stream of nobody", SCORES, arrow(NOBODY), 422, "invalid_body", "at least 1 row", ARROW),
    post("reasons that are no boolean", f"{SCORES}?reasons=perhaps", b"", 422, "invalid_parameter", "true or false"),
    post(
        "a misspelt reasons",
        f"{SCORES}?reason=true",
        {"rows": [account()]},
        422,
        "invalid_parameter",
        "allowed: reasons",
    ),
    post("scores as a picture", SCORES, account(), 406, "not_acceptable", CSV, Accept="image/png"),
    post(
        "no theta to score by",
        "/v1/products/idle/markets/north/scores",
        {"rows": [account()]},
        409,
        "no_active_theta",
        "no active theta",
    ),
]

TABLES = [
    post(
        "Parquet cut short", SOURCE, parquet(table())[:-20], 422, "corrupt_table", "The Parquet cannot be read", PARQUET
    ),
    post(
        "Parquet broken inside",
        SOURCE,
        broken_inside(parquet(table())),
        422,
        "corrupt_table",
        "The Parquet cannot be read",
        PARQUET,
    ),
    post("CSV that says it is Parquet", SOURCE, CSV_HEAD, 422, "corrupt_table", "The Parquet cannot be read", PARQUET),
    post(
        "Arrow cut short", SOURCE, arrow(table())[:-200], 422, "corrupt_table", "The Arrow stream cannot be read", ARROW
    ),
    post(
        "Arrow broken inside",
        SOURCE,
        broken_inside(arrow(table())),
        422,
        "corrupt_table",
        "The Arrow stream cannot be read",
        ARROW,
    ),
    post(
        "a column of lists",
        SOURCE,
        parquet(table(annual_income=[[INCOME], []])),
        422,
        "invalid_rows",
        "must be a number",
        PARQUET,
    ),
    post(
        "a column of NaN",
        SOURCE,
        parquet(table(annual_income=[float("nan"), 1.0])),
        422,
        "invalid_rows",
        "must be a finite number",
        PARQUET,
    ),
    post(
        "a column of bytes",
        SOURCE,
        parquet(table(home=[b"\xff", b"own"])),
        422,
        "invalid_rows",
        "must be a string",
        PARQUET,
    ),
    post(
        "a table without its label",
        SOURCE,
        parquet(table().drop_columns(["defaulted"])),
        422,
        "invalid_rows",
        "is not a column of the table",
        PARQUET,
    ),
    post("a table without columns", SOURCE, b"", 422, "corrupt_table", "no columns", CSV),
    post("a header and no rows", SOURCE, CSV_HEAD, 422, "invalid_body", "at least 1 row", CSV),
    post("a Parquet without rows", SOURCE, parquet(table()[:0]), 422, "invalid_body", "at least 1 row", PARQUET),
    post("an Arrow stream without rows", SOURCE, arrow(table()[:0]), 422, "invalid_body", "at least 1 row", ARROW),
    post("JSON lines without a line", SOURCE, b"\n", 422, "invalid_body", "at least 1 row", JSONL),
    post("two columns of one name", SOURCE, b"home,home\nown,own\n", 422, "corrupt_table", "the same name", CSV),
    post(
        "an unknown column of source data",
        SOURCE,
        b"market,defaulted,shoe_size\nm,1,40\n",
        422,
        "invalid_rows",
        "name it in ignore_column",
        CSV,
    ),
    post("a label of 2", SOURCE, CSV_HEAD + f"m,2,{INCOME},0.1,own\n".encode(), 422, "invalid_rows", "1 or 0", CSV),
    post(
        "a number with a unit",
        SOURCE,
        CSV_HEAD + f"m,1,{INCOME} EUR,0.1,own\n".encode(),
        422,
        "invalid_rows",
        "must be a number",
        CSV,
    ),
    post(
        "an infinite number",
        SOURCE,
        CSV_HEAD + b"m,1,1e999,0.1,own\n",
        422,
        "invalid_rows",
        "must be a finite number",
        CSV,
    ),
    post(
        "a CSV of latin-1",
        SOURCE,
        CSV_HEAD + b"m,1,1,0.1,\xe9t\xe9\n",
        422,
        "corrupt_table",
        "The CSV cannot be read",
        CSV,
    ),
    post(
        "a CSV with an open quote",
        SOURCE,
        CSV_HEAD + b'm,1,1,0.1,"own\n',
        422,
        "corrupt_table",
        "The CSV cannot be read",
        CSV,
    ),
    post(
        "NUL in a CSV",
        SOURCE,
        CSV_HEAD + b"m,1,1,0.1,o\x00wn\n",
        422,
        "invalid_rows",
        "must not hold control characters",
        CSV,
    ),
    post(
        "NUL in an Arrow stream",
        SOURCE,
        arrow(table(home=["a\x00", "own"])),
        422,
        "invalid_rows",
        "must not hold control characters",
        ARROW,
    ),
    post(
        "a market without a name", SOURCE, CSV_HEAD + b",1,1,0.1,own\n", 422, "invalid_rows", "1 to 100 characters", CSV
    ),
    post(
        "JSON lines with NaN",
        SOURCE,
        b'{"market": "m", "defaulted": true}\n{"market": NaN}\n',
        422,
        "corrupt_table",
        "Row 1 is not JSON",
        JSONL,
    ),
    post("JSON lines that are numbers", SOURCE, b"1\n", 422, "invalid_rows", "must be an object", JSONL),
    post("an unknown format", SOURCE, b"rows", 415, "unsupported_media_type", "text/csv", "application/pdf"),
    post(
        "too large a table", SOURCE, CSV_HEAD + b"m,1,1,0.1,own\n" * 10_000, 413, "body_too_large", "120,000 bytes", CSV
    ),
    post(
        "one date column without the other",
        f"{SOURCE}?opened_on_column=home",
        CSV_HEAD,
        422,
        "invalid_parameter",
        "observed_on_column are named together",
        CSV,
    ),
    post("source data of no product", "/v1/products/none/source-data", CSV_HEAD, 404, "unknown_product", "none", CSV),
]

DECLARATIONS = [
    post(
        "a product declared otherwise",
        "/v1/products",
        PRODUCT | {"title": "Other"},
        409,
        "product_exists",
        "choose another name",
    ),
    post(
        "a product without features",
        "/v1/products",
        PRODUCT | {"feature_schema": {"features": []}},
        422,
        "invalid_body",
        "at least 1 item",
    ),
    post(
        "a feature twice",
        "/v1/products",
        PRODUCT | {"slug": "new", "feature_schema": {"features": [{"name": "a", "kind": "numeric"}] * 2}},
        422,
        "invalid_body",
        "must not repeat",
    ),
    post(
        "a range upside down",
        "/v1/products",
        PRODUCT
        | {
            "slug": "new",
            "feature_schema": {"features": [{"name": "a", "kind": "numeric", "minimum": 2, "maximum": 1}]},
        },
        422,
        "invalid_body",
        "must not be above maximum",
    ),
    post(
        "a slug with a slash",
        "/v1/products",
        PRODUCT | {"slug": "a/b"},
        422,
        "invalid_body",
        '"slug", "rule": "must match',
    ),
    put(
        "a rate of 12",
        f"{CARD}/markets/new",
        MARKET | {"base_rate": MARKET["base_rate"] | {"value": 12}},
        422,
        "invalid_body",
        "must be below 1",
    ),
    put(
        "a rate outside its range",
        f"{CARD}/markets/new",
        MARKET | {"base_rate": MARKET["base_rate"] | {"value": 0.9}},
        422,
        "invalid_body",
        "low <= value <= high",
    ),
    put(
        "a rate of tomorrow",
        f"{CARD}/markets/new",
        MARKET | {"base_rate": MARKET["base_rate"] | {"as_of": TOMORROW}},
        422,
        "invalid_body",
        "must not be in the future",
    ),
    put("an unknown currency", f"{CARD}/markets/new", {"currency": "XYZ"}, 422, "invalid_body", "ISO 4217"),
    put("a market of no product", "/v1/products/none/markets/new", MARKET, 404, "unknown_product", "none"),
    put("an account of no market", f"{CARD}/markets/none/accounts/{NAME}", account(), 404, "unknown_market", "none"),
    put("an account out of range", ACCOUNT, account(annual_income=-INCOME), 422, "invalid_body", "must be at least 0"),
    put("a broken account of no market", f"{CARD}/markets/none/accounts/{NAME}", b"{", 400, "invalid_json", "line 1"),
]

VERSIONS = [
    post("a theta from nothing", "/v1/products/idle/thetas", {}, 409, "too_little_source_data", "no source rows"),
    post("an unknown theta", f"{CARD}/thetas/99/activate", {}, 404, "unknown_theta", "99"),
    post("an untrained theta", f"{CARD}/thetas/2/activate", {}, 409, "untrained_theta", "2"),
    post("theta 0", f"{CARD}/thetas/0/activate", {}, 422, "invalid_parameter", "must be at least 1"),
    post("a theta beyond 32 bits", f"{CARD}/thetas/{2**31}/activate", {}, 422, "invalid_parameter", "must be below"),
    get("a theta that is no number", f"{CARD}/thetas/latest", 422, "invalid_parameter", '"value": "latest"'),
    post(
        "a theta of a thousand steps",
        f"{CARD}/thetas",
        {"inner_steps": 1000},
        422,
        "invalid_body",
        "must be at most 20",
    ),
    post(
        "an option that the learner does not have",
        f"{CARD}/thetas",
        {"learner": "maml", "learner_options": {"by_evidence": True}},
        422,
        "invalid_body",
        "learner_options of maml are none, got 'by_evidence'",
    ),
    post(
        "an option of another kind",
        f"{CARD}/thetas",
        {"learner": "meta_sgd", "learner_options": {"by_evidence": 0.5}},
        422,
        "invalid_body",
        "learner_options.by_evidence must be true or false, got 0.5",
    ),
    post("a theta by an unknown learner", f"{CARD}/thetas", {"learner": "magic"}, 422, "invalid_body", "'maml'"),
    post("an unknown theta_prime", f"{THETA_PRIMES}/99/activate", {}, 404, "unknown_theta_prime", "99"),
    post(
        "a refused theta_prime", f"{CARD}/markets/random/theta-primes/2/activate", {}, 409, "refused_version", "refused"
    ),
    post(
        "an activation by nobody",
        f"{CARD}/markets/random/theta-primes/1/activate",
        {"activated_by": ""},
        422,
        "invalid_body",
        "at least 1 character",
    ),
    post("adapting to nothing", f"{BARE}/theta-primes", {}, 409, "no_samples", "no samples"),
    get("a card of theta 0", f"{CARD}/thetas/0/card", 422, "invalid_parameter", "must be at least 1"),
    get("a card of a theta in training", f"{CARD}/thetas/2/card", 409, "untrained_theta", "is queued"),
    get("a card of no theta_prime", f"{THETA_PRIMES}/99/card", 404, "unknown_theta_prime", "99"),
    get("a card of no product", "/v1/products/none/thetas/1/card", 404, "unknown_product", "none"),
    get("a card in another format", f"{CARD}/thetas/1/card?format=pdf", 422, "invalid_parameter", "allowed: none"),
    get("influence of version 0", f"{THETA_PRIMES}/0/influence", 422, "invalid_parameter", "must be at least 1"),
    get("influence of no version", f"{THETA_PRIMES}/99/influence", 404, "unknown_theta_prime", "99"),
    get(
        "influence on few of many",
        f"{CARD}/markets/random/theta-primes/1/influence?limit=5",
        422,
        "invalid_parameter",
        "allowed: none",
    ),
    get(
        "influence of too many",
        f"{CARD}/markets/random/theta-primes/1/influence",
        409,
        "too_many_samples",
        "6 samples; at most 5",
    ),
    get(
        "tampered weights",
        f"{CARD}/markets/tampered/accounts/{NAME}/score",
        500,
        "stored_weights_corrupt",
        "request_id",
    ),
]

CASES = JSON_ITSELF + ADDRESSES + ROWS + OUTCOMES + BATCHES + TABLES + DECLARATIONS + VERSIONS
