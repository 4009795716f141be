"""One page of a list."""

from typing import Generic, TypeVar

from pydantic import Field

from app.domain.schema import Noun

Item = TypeVar("Item")


class Page(Noun, Generic[Item]):
    """Some items of a list, in order; ask again with ``after`` = ``next_after`` for those that follow."""

    items: list[Item]
    next_after: str | int | None = Field(description="null: this is the end")
