"""What a product's accounts look like: the feature schema, hashed into every theta."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import NoneType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FeatureValue = float | int | str | bool | None
FEATURE_NAME = r"^[A-Za-z_][A-Za-z0-9_.\-]{0,62}$"
RESERVED_NAMES = frozenset({"account", "defaulted", "market", "observed_on", "opened_on", "row_id"})
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Noun(BaseModel):
    """A frozen, strict value: no coercion, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Feature(Noun):
    """One application-time characteristic of an account."""

    name: Annotated[str, Field(pattern=FEATURE_NAME)]
    kind: Literal["numeric", "categorical"]
    unit: Annotated[str, Field(max_length=40)] | None = Field(None, description="e.g. EUR, months, share")
    minimum: float | None = Field(None, description="smallest allowed value, inclusive")
    maximum: float | None = Field(None, description="largest allowed value, inclusive")
    categories: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=1000)] | None = Field(
        None, description="known categories; others are accepted, flagged and scored as unseen"
    )
    direction_of_risk: Literal["increases", "decreases"] | None = Field(
        None, description="how risk moves as the value grows, where that is known"
    )
    personal_data: Literal["none", "personal", "sensitive"] = Field(
        "personal", description="values that are not 'none' are never repeated in an error or a log line"
    )
    nullable: bool = Field(True, description="may the value be missing?")

    @model_validator(mode="after")
    def _kinds_agree(self) -> Self:
        if self.name in RESERVED_NAMES:
            raise ValueError(f"these names are taken by the service's own columns: {', '.join(sorted(RESERVED_NAMES))}")
        if self.kind == "categorical" and (self.minimum is not None or self.maximum is not None):
            raise ValueError("minimum and maximum belong to numeric features only")
        if self.kind == "numeric" and self.categories is not None:
            raise ValueError("categories belong to categorical features only")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("minimum must not be above maximum")
        if self.categories is not None and len(set(self.categories)) != len(self.categories):
            raise ValueError("categories must not repeat")
        return self

    def fault(self, value: object) -> str | None:
        """Name the rule that ``value`` breaks (never the value itself), or None."""
        if value is None:
            return None if self.nullable else "is required and must not be null"
        if self.kind == "categorical":
            if not isinstance(value, str):
                return "must be a string"
            return _text_fault(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "must be a number"
        if not _is_finite(value):
            return "must be a finite number"
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {self.maximum:g}"
        return None

    def faults_in(self, values: Sequence[object]) -> list[tuple[int, str]]:
        """List (row, broken rule) of a whole column; a column without faults is checked without a call a row."""
        if self._all_sound(values):
            return []
        return [(row, rule) for row, value in enumerate(values) if (rule := self.fault(value)) is not None]

    def _all_sound(self, values: Sequence[object]) -> bool:
        kinds = set(map(type, values))
        if NoneType in kinds and not self.nullable:
            return False
        if self.kind == "categorical":
            return kinds <= {str, NoneType} and all(self.fault(value) is None for value in set(values))
        if not kinds <= {float, int, NoneType}:
            return False
        present = [value for value in values if isinstance(value, int | float)]
        sound = all(map(_is_finite, present))
        return sound and (not present or self.fault(min(present)) is self.fault(max(present)) is None)


def _text_fault(value: str) -> str | None:
    if not 0 < len(value) <= 200:
        return "must have 1 to 200 characters"
    return "must not hold control characters" if _UNPRINTABLE.search(value) else None


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest double
        return False


class FeatureSchema(Noun):
    """The ordered features of a product."""

    features: Annotated[tuple[Feature, ...], Field(strict=False, min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError("feature names must not repeat")
        return self

    def __getitem__(self, name: str) -> Feature:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Feature]:
        return {feature.name: feature for feature in self.features}

    @property
    def names(self) -> list[str]:
        """The features' names, in order."""
        return [feature.name for feature in self.features]

    def sha256(self) -> str:
        """Hash the schema's canonical JSON, so that a theta can refuse another schema's rows."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def faults(self, row: Mapping[str, object]) -> list[tuple[str, str]]:
        """List (feature, broken rule) of one account; unknown features are faults, absent ones are null."""
        by_name = self._by_name
        found = [(name, "is not a feature of this product") for name in row if name not in by_name]
        for feature in self.features:
            rule = feature.fault(row.get(feature.name))
            if rule is not None:
                found.append((feature.name, rule))
        return found
