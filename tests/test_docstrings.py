"""Every example in a docstring is run."""

import doctest
import importlib
import pkgutil

import pytest

import app
import meta

MODULES = [
    name for package in (app, meta) for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
]


def test_there_are_modules_to_look_at() -> None:
    assert {"app.domain.scorecard", "app.demo.comparison", "meta.functional"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
