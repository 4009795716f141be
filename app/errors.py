"""Every fault that Thetaprime answers, one class per fault: a status, a stable code and a title.

Services raise them, the HTTP edge writes them as RFC 9457 problem+json, `docs/errors.md` lists them. A detail, a field
or a rule names what is wrong and never repeats a personal value. The docstring of a class is what its page says:
what happened, then what to do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One broken rule: where (`field` as a dotted path, `row` counted from 0), what the rule is, and, only where it
    cannot be personal, the value that broke it."""

    field: str
    rule: str
    row: int | None = None
    value: object | None = None


class Problem(Exception):
    """Root of all answered faults. Subclasses set `status`, `code` and `title`; the code of a fault never changes."""

    status: int = 500
    code: str = "internal_error"
    title: str = "Internal error"
    request_id: str | None = None
    """Set by the edge where the log has more to say than the answer."""

    def __init__(
        self,
        detail: str | None = None,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or f"{self.title}."
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        super().__init__(self.detail)


def every_problem(root: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """Walk all fault classes, the root left out."""
    for kind in root.__subclasses__():
        yield kind
        yield from every_problem(kind)


# --- the request itself ------------------------------------------------------------------------------------------


class InvalidJson(Problem):
    """The body is not strict JSON: UTF-8, no NaN or Infinity, no number beyond a double or 64-bit integer, no
    duplicate keys, bounded depth. Send a valid document."""

    status, code, title = 400, "invalid_json", "The body is not strict JSON"


class InvalidHttp(Problem):
    """The request could not be read as HTTP. Check the client or the proxy between."""

    status, code, title = 400, "invalid_http", "The request could not be read"


class InvalidBody(Problem):
    """Fields of the body break the rules listed under `errors`; nothing was stored. Correct every listed field."""

    status, code, title = 422, "invalid_body", "The body breaks the rules"


class InvalidParameter(Problem):
    """A path, query or header parameter breaks the rules listed under `errors`; nothing was stored."""

    status, code, title = 422, "invalid_parameter", "A parameter breaks the rules"


class InvalidRows(Problem):
    """Rows break the rules listed under `errors`, with their row numbers counted from 0; no row was stored."""

    status, code, title = 422, "invalid_rows", "Rows break the rules"


class BodyTooLarge(Problem):
    """The body has more bytes than this path takes. Send fewer rows at a time, or a more compact format."""

    status, code, title = 413, "body_too_large", "The body is too large"


class TooManyRows(Problem):
    """The request has more rows than this path takes. Send them in parts."""

    status, code, title = 413, "too_many_rows", "Too many rows"


class UnsupportedMediaType(Problem):
    """The Content-Type or Content-Encoding is not one that this path reads. The detail names those it reads."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class NotAcceptable(Problem):
    """None of the media types in Accept can be answered here. The detail names those that can."""

    status, code, title = 406, "not_acceptable", "No acceptable media type"


class CorruptTable(Problem):
    """The uploaded CSV, Parquet, Arrow or JSON lines could not be read to its end; nothing was stored."""

    status, code, title = 422, "corrupt_table", "The table cannot be read"


# --- what is not there -------------------------------------------------------------------------------------------


class NotFound(Problem):
    """Nothing is served at this path. See /docs for the paths."""

    status, code, title = 404, "not_found", "No such path"


class MethodNotAllowed(Problem):
    """The path is there, the method is not. The Allow header names the methods that are."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


class UnknownProduct(Problem):
    """No product has this name. Declare it with POST /v1/products."""

    status, code, title = 404, "unknown_product", "Unknown product"


class UnknownMarket(Problem):
    """The product has no market of this name. Declare it with PUT /v1/products/{product}/markets/{market}."""

    status, code, title = 404, "unknown_market", "Unknown market"


class UnknownAccount(Problem):
    """The market has no account of this reference. Store its features first."""

    status, code, title = 404, "unknown_account", "Unknown account"


class UnknownTheta(Problem):
    """The product has no theta of this version."""

    status, code, title = 404, "unknown_theta", "Unknown theta"


class UnknownThetaPrime(Problem):
    """The market has no theta_prime of this version."""

    status, code, title = 404, "unknown_theta_prime", "Unknown theta_prime"


class UnknownScore(Problem):
    """The ledger holds no score of this id."""

    status, code, title = 404, "unknown_score", "Unknown score"


# --- what stands in the way --------------------------------------------------------------------------------------


class ProductExists(Problem):
    """A product of this name is declared with another schema. Schemas do not change; choose another name."""

    status, code, title = 409, "product_exists", "The product exists"


class IdempotencyConflict(Problem):
    """The Idempotency-Key was used before with another body or path. Use a fresh key for new work."""

    status, code, title = 409, "idempotency_conflict", "The Idempotency-Key belongs to another request"


class NoActiveTheta(Problem):
    """The product has no active theta yet. Train one and activate it."""

    status, code, title = 409, "no_active_theta", "No active theta"


class TooLittleSourceData(Problem):
    """No theta can be learned from the product's source data. POST rows of several markets, defaulted and good accounts
    among them."""

    status, code, title = 409, "too_little_source_data", "Too little source data"


class UntrainedTheta(Problem):
    """This version of theta is still being trained, or its training failed. Activate one that has succeeded."""

    status, code, title = 409, "untrained_theta", "The theta is not trained"


class NoSamples(Problem):
    """The market has no stored samples, so there is nothing to adapt on. POST samples first."""

    status, code, title = 409, "no_samples", "No samples"


class TooManySamples(Problem):
    """The version was adapted on more samples than influence is computed for, one adaptation a sample. Nothing can
    be done about the version; operators may raise `THETAPRIME_MAX_INFLUENCE_SAMPLES`."""

    status, code, title = 409, "too_many_samples", "Too many samples"


class RefusedVersion(Problem):
    """This version was refused by its guard; it is kept for the record and cannot be activated."""

    status, code, title = 409, "refused_version", "A refused version cannot serve"


class MixedDesigns(Problem):
    """Usable rows of one market were drawn under different sampling designs. One adaptation reads one design."""

    status, code, title = 422, "mixed_designs", "Sampling designs are mixed"


class BaseRateRequired(Problem):
    """These labels say nothing about the level of risk. Declare the market's base rate first."""

    status, code, title = 422, "base_rate_required", "A base rate is required"


class DefaultsRequired(Problem):
    """Goods alone under `case_control` say nothing about ranking or level. Send defaulted accounts too."""

    status, code, title = 422, "defaults_required", "Defaulted accounts are required"


class EngineRefused(Problem):
    """Theta cannot be adapted or applied as asked: the rows or the recipe break a rule of the engine, which the detail
    names. Nothing was stored; correct the request."""

    status, code, title = 422, "engine_refused", "The engine refuses rows or recipe"


# --- what is wrong on our side -----------------------------------------------------------------------------------


class StoredWeightsCorrupt(Problem):
    """Stored weights do not match their hash or are not finite; they were not used. Tell the operators."""

    status, code, title = 500, "stored_weights_corrupt", "Stored weights are corrupt"


class DatabaseUnavailable(Problem):
    """The database did not answer or closed the connection. Try again after Retry-After, with the same
    Idempotency-Key: if the work was done after all, its first answer comes."""

    status, code, title = 503, "database_unavailable", "The database is unavailable"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, headers={"Retry-After": "1"})


class NotReady(Problem):
    """This process cannot work now; the detail says what is missing. Send requests to another one until `GET /readyz`
    answers 200."""

    status, code, title = 503, "not_ready", "The service is not ready"


class InternalError(Problem):
    """A fault of the service itself. Tell the operators the `request_id`: the log has it."""

    status, code, title = 500, "internal_error", "Internal error"
