"""Every example in a docstring is run."""

import doctest
import importlib
import pkgutil

import pytest

import meta

MODULES = [name for _, name, _ in pkgutil.walk_packages(meta.__path__, "meta.")]


def test_there_are_modules_to_look_at() -> None:
    assert "meta.functional" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
