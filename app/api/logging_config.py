"""Logs without personal data: uvicorn's access log prints whole addresses, so it is off and the edge writes its own."""

import logging
from typing import Any

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "uvicorn.access": {"handlers": [], "level": "CRITICAL", "propagate": False},
        "thetaprime": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}
"""For `uvicorn.run(app, log_config=LOGGING)`."""


class _Nothing(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return False


_NOTHING = _Nothing()


def silence_uvicorn_access_log() -> None:
    """Drop what uvicorn would log of a request, also where somebody starts it with another logging configuration."""
    logging.getLogger("uvicorn.access").addFilter(_NOTHING)
