"""FastAPI's and pydantic's validation errors in Thetaprime's words: the place and the rule, never the value."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import Fault, InvalidBody, InvalidParameter, Problem

ECHOED_PARAMETERS = frozenset({"product", "market", "version", "limit", "offset", "dry_run"})
"""Path and query parameters that name things of the bank, never a person; an account reference is not among them."""

ROW_LISTS = frozenset({"rows", "samples", "outcomes", "accounts"})
"""Fields of a body that hold one account a member."""

_HARMLESS = re.compile(r"[A-Za-z0-9_.+\-]{1,40}")
_PARAMETER_PLACES = frozenset({"path", "query", "header", "cookie"})

# Written from the schema's side of the error's context alone: pydantic's own messages may quote what was sent.
_RULES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "int_parsing_size": "must be an integer of 64 bits",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "none_required": "must be null",
    "string_type": "must be a string",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} character(s)",
    "string_pattern_mismatch": "must match {pattern}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} item(s)",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "date_type": "must be a date, YYYY-MM-DD",
    "date_parsing": "must be a date, YYYY-MM-DD",
    "date_from_datetime_parsing": "must be a date, YYYY-MM-DD",
    "date_from_datetime_inexact": "must be a date without a time of day",
    "datetime_type": "must be a date and time, ISO 8601",
    "datetime_parsing": "must be a date and time, ISO 8601",
    "datetime_from_date_parsing": "must be a date and time, ISO 8601",
    "timezone_aware": "must have a time zone",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
    "union_tag_invalid": "must have {discriminator} among {expected_tags}",
    "union_tag_not_found": "must have {discriminator}",
    "value_error": "{error}",  # our own validators' words; they state the rule and no value
}


def problem_of(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """Make the answer: about the body where only the body is at fault, else about the parameters."""
    faults = [_fault(error) for error in errors]
    if any(error["loc"][0] in _PARAMETER_PLACES for error in errors):
        return InvalidParameter("Parameters break the rules.", faults=faults)
    return InvalidBody("Fields of the body break the rules; nothing was stored.", faults=faults)


def _fault(error: Mapping[str, Any]) -> Fault:
    place, *path = error["loc"]
    rule = _RULES.get(error["type"], "is not valid").format_map(error.get("ctx", {}))
    if place in _PARAMETER_PLACES:
        return Fault(_dotted([place, *path]), rule, value=_echo(path, error.get("input")))
    row, field = _split_row(path)
    return Fault(field, rule, row=row)


def is_nameable(parameter: object, value: object) -> bool:
    """May this parameter's value be repeated in an answer or a log line?"""
    return parameter in ECHOED_PARAMETERS and _HARMLESS.fullmatch(str(value)) is not None


def _echo(path: Sequence[object], value: object) -> object | None:
    return value if len(path) == 1 and is_nameable(path[0], value) else None


def _split_row(path: Sequence[str | int]) -> tuple[int | None, str]:
    """Split `rows.3.features.income` into row 3 and its field."""
    if len(path) >= 2 and path[0] in ROW_LISTS and isinstance(path[1], int):
        return path[1], _dotted(path[2:]) or str(path[0])
    return None, _dotted(path) or "body"


def _dotted(path: Sequence[str | int]) -> str:
    """Write a path; keys that the client chose are cut short and stripped of what no field name has."""
    return ".".join(re.sub(r"[^\w.\-]", "?", str(step))[:63] for step in path)
