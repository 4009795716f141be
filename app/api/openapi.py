"""What the generated OpenAPI document lacks: how errors look, and examples where Swagger UI fills them in."""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from app.api.problem_response import MEDIA_TYPE


class FaultSchema(BaseModel):
    """One broken rule. `value` is there only where it cannot be personal."""

    field: str = Field(description="dotted path of the field or parameter", examples=["features.annual_income"])
    rule: str = Field(examples=["must be at least 0"])
    row: int | None = Field(None, description="row of the body, counted from 0")
    value: bool | int | float | str | None = None


class ProblemSchema(BaseModel):
    """Every error of this service, after RFC 9457."""

    type: str = Field(description="page of this error", examples=["/problems/invalid_body"])
    title: str = Field(examples=["The body breaks the rules"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["Fields of the body break the rules; nothing was stored."])
    code: str = Field(description="stable name of the error, for programs", examples=["invalid_body"])
    errors: list[FaultSchema]
    n_errors: int | None = Field(None, description="number of all faults, where more than 1,000 were found")
    request_id: str | None = Field(None, description="on statuses from 500: what to tell the operators")


_DROPPED = ("HTTPValidationError", "ValidationError")


def complete_document(app: FastAPI) -> None:
    """Make `app.openapi()` describe problem+json for every operation, in place of FastAPI's own 422, and give each
    parameter's first example where the docs page takes it from."""
    plain = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(plain())
        return app.openapi_schema

    app.openapi = completed  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _DROPPED:
        schemas.pop(name, None)
    schemas["Problem"] = ProblemSchema.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas["Fault"] = schemas["Problem"].pop("$defs")["FaultSchema"]
    schemas["Problem"]["properties"]["errors"]["items"] = {"$ref": "#/components/schemas/Fault"}
    for operations in document["paths"].values():
        for operation in operations.values():
            _describe(operation["responses"])
            _raise_examples(operation.get("parameters", ()))
    return document


def _describe(responses: dict[str, Any]) -> None:
    responses.pop("422", None)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses["4XX"] = {"description": "The request is at fault", "content": content}
    responses["5XX"] = {"description": "The service is at fault", "content": content}


def _raise_examples(parameters: Iterable[dict[str, Any]]) -> None:
    """Swagger UI fills in a parameter's `example`; FastAPI writes `examples` into its schema."""
    for parameter in parameters:
        examples = parameter["schema"].get("examples")
        if examples:
            parameter["example"] = examples[0]
