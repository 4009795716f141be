"""What the client raises; each error names the service's own stable code."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

MAX_FAULTS_TOLD = 5


@dataclass(frozen=True)
class RowFault:
    """One broken rule as the service lists it: dotted field, rule, row counted from 0, and the value if harmless."""

    field: str
    rule: str
    row: int | None = None
    value: object | None = None

    def __str__(self) -> str:
        where = self.field if self.row is None else f"row {self.row}, {self.field}"
        return f"{where} {self.rule}"


class ThetaprimeError(Exception):
    """Root of what the client raises: a problem that the service answered, or that there was no such answer.

    ``status`` is the answer's HTTP status, None where there was no answer; ``code`` is stable and meant for programs;
    ``faults`` lists every broken rule; ``request_id`` is what the operators ask for after a 5xx.
    """

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        status: int | None = None,
        title: str | None = None,
        faults: tuple[RowFault, ...] = (),
        request_id: str | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.title = title or detail
        self.detail = detail
        self.faults = faults
        self.request_id = request_id
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        told = "; ".join(map(str, self.faults[:MAX_FAULTS_TOLD]))
        n_more = len(self.faults) - MAX_FAULTS_TOLD
        more = f"; and {n_more} more" if n_more > 0 else ""
        name = self.code if self.status is None else f"{self.status} {self.code}"
        request = "" if self.request_id is None else f" (request {self.request_id})"
        return f"{name}: {self.detail}{f' {told}{more}.' if told else ''}{request}"


class ServiceUnreachable(ThetaprimeError):
    """No answer came, after all tries; whether the last try was worked on is not known."""

    def __init__(self, base_url: str, fault: Exception) -> None:
        super().__init__(f"No answer from {base_url} ({fault or type(fault).__name__}).", code="service_unreachable")


class TrainingFailed(ThetaprimeError):
    """A training that was waited for has failed; the detail is the training's own error."""

    def __init__(self, product: str, version: int, error: str | None) -> None:
        super().__init__(f"Theta {version} of {product} was not learned: {error}", code="training_failed")


def error_of(answer: httpx.Response) -> ThetaprimeError:
    """Read a problem+json answer; what somebody else answered (a proxy, say) becomes code ``unexpected_answer``."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("code"), str):
        detail = f"{answer.url.host} answered {answer.status_code}, which does not read as Thetaprime's."
        return ThetaprimeError(detail, code="unexpected_answer", status=answer.status_code)
    return ThetaprimeError(
        str(body.get("detail", "")),
        code=body["code"],
        status=answer.status_code,
        title=body.get("title"),
        faults=tuple(_fault(entry) for entry in body.get("errors", ())),
        request_id=body.get("request_id"),
    )


def _fault(entry: Mapping[str, Any]) -> RowFault:
    return RowFault(entry["field"], entry["rule"], entry.get("row"), entry.get("value"))
