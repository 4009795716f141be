"""Settings come from the environment, and the password among them stays unseen."""

import pytest
from pydantic import ValidationError

from app.settings import Settings


def test_the_environment_sets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://bank:secret@db/thetaprime")
    monkeypatch.setenv("THETAPRIME_MAX_ROWS", "1000")
    settings = Settings()
    assert (settings.database_url, settings.max_rows) == ("postgresql://bank:secret@db/thetaprime", 1000)
    assert "secret" not in repr(settings)


def test_a_database_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(ValidationError, match="DATABASE_URL"):
        Settings()


@pytest.mark.parametrize(("name", "value"), [("n_threads", 0), ("watch_every_s", 2.0), ("max_rows", 0)])
def test_settings_have_bounds(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(database_url="postgresql://db/x", **{name: value})
