"""One page of a list."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pydantic import Field

from app.domain.schema import Noun

Item = TypeVar("Item")


class Page(Noun, Generic[Item]):
    """Some items of a list, in order; ask again with ``after`` = ``next_after`` for those that follow."""

    items: list[Item]
    next_after: str | int | None = Field(description="null: this is the end")

    @classmethod
    def of(cls, items: Sequence[Item], limit: int, key: Callable[[Item], str | int]) -> "Page[Item]":
        """Make a page of what a query with this ``limit`` found; a full page may have a next one."""
        return cls(items=list(items), next_after=key(items[-1]) if items and len(items) == limit else None)
