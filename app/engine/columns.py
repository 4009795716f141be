"""The product's feature schema in the plain words of ``meta``."""

from app.domain.schema import FeatureSchema
from meta.types import Column


def columns_of(schema: FeatureSchema) -> tuple[Column, ...]:
    """Name, kind and categories of each feature; units, ranges and privacy stay on this side of the door."""
    return tuple(Column(f.name, f.kind, f.categories, f.direction_of_risk) for f in schema.features)
