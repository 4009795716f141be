"""Packages that some rivals need and nothing else does; a rival without its package is skipped with the reason."""

import importlib.util


class Skipped(Exception):
    """A rival can't be run here; the message says why, and its row in the tables says so."""


def require(package: str) -> None:
    """Raises Skipped where ``package`` is not installed."""
    if importlib.util.find_spec(package) is None:
        raise Skipped(f"{package} is not installed: pip install -r benchmarks/few_shot/requirements.txt")
