"""Query parameters: the declared ones, each once, and no others; a misspelt `dry_run` must never be a wet one."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import ParamTypes
from starlette.datastructures import QueryParams

from app.errors import Fault, InvalidParameter


@dataclass(frozen=True)
class QueryRules:
    """The query parameters of one route: all of them, those that may repeat, and those that are real numbers."""

    names: frozenset[str]
    repeatable: frozenset[str]
    numbers: frozenset[str]

    @classmethod
    def of(cls, dependant: Dependant) -> "QueryRules":
        """Read the rules off a route's signature and its dependencies."""
        fields = [f for f in get_flat_params(dependant) if getattr(f.field_info, "in_", None) is ParamTypes.query]
        types = {field.alias: set(_types(field.field_info.annotation)) for field in fields}
        return cls(
            names=frozenset(types),
            repeatable=frozenset(name for name, found in types.items() if found & {list, set, tuple, frozenset}),
            numbers=frozenset(name for name, found in types.items() if float in found),
        )

    def check(self, query: QueryParams) -> None:
        """Raise InvalidParameter with every fault, or return."""
        if not query:
            return
        faults = [*self._unknown(query), *self._repeated(query), *self._not_finite(query), *self._unstorable(query)]
        if faults:
            raise InvalidParameter("Query parameters break the rules.", faults=faults)

    def _unknown(self, query: QueryParams) -> Iterator[Fault]:
        allowed = ", ".join(sorted(self.names)) or "none"
        n_unknown = len(query.keys() - self.names)
        if n_unknown:
            yield Fault("query", f"has {n_unknown} unknown parameter(s); allowed: {allowed}")

    def _repeated(self, query: QueryParams) -> Iterator[Fault]:
        counts = Counter(name for name, _ in query.multi_items())
        for name in sorted(self.names - self.repeatable):
            if counts[name] > 1:
                yield Fault(f"query.{name}", "must be given once")

    def _not_finite(self, query: QueryParams) -> Iterator[Fault]:
        for name in sorted(self.numbers):
            if not all(_is_finite(text) for text in query.getlist(name)):
                yield Fault(f"query.{name}", "must be a finite number")

    def _unstorable(self, query: QueryParams) -> Iterator[Fault]:
        for name in sorted(self.names):
            if any("\x00" in text for text in query.getlist(name)):
                yield Fault(f"query.{name}", "must not hold NUL")


def refuse_unstorable_path(path: str) -> None:
    """Raise InvalidParameter for a path with NUL, which PostgreSQL text cannot hold."""
    if "\x00" in path:
        raise InvalidParameter("The path holds NUL.", faults=[Fault("path", "must not hold NUL")])


def _types(annotation: Any) -> Iterator[Any]:
    """Every plain type in an annotation, unions and containers opened."""
    yield get_origin(annotation) or annotation
    for inner in get_args(annotation):
        yield from _types(inner)


def _is_finite(text: str) -> bool:
    """Text that is no number at all is left to pydantic, which says so better."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return True
