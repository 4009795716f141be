"""Which software runs here, to be kept with what it makes."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("thetaprime", "numpy", "torch")  # those that have a say in the numbers


@cache
def software_versions() -> dict[str, str]:
    """Name the versions of Python and of the packages that make theta and theta_prime."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its sources
        return "not installed"
