"""The migrations: up, down, up again, and exactly the tables that the code works with."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from app.store import migrations
from app.store.database import sqlalchemy_url
from app.store.tables import metadata


def table_names(url: str) -> set[str]:
    engine = create_engine(sqlalchemy_url(url))
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_up_down_and_up_again(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url)
    first = table_names(empty_database_url)
    assert set(metadata.tables) <= first
    assert migrations.is_current(empty_database_url)

    migrations.downgrade(empty_database_url)
    assert table_names(empty_database_url) == {"alembic_version"}
    assert not migrations.is_current(empty_database_url)

    migrations.upgrade(empty_database_url)
    assert table_names(empty_database_url) == first


def test_a_second_upgrade_changes_nothing(database_url: str) -> None:
    migrations.upgrade(database_url)
    assert migrations.is_current(database_url)


def test_the_migrated_database_is_what_the_code_declares(database_url: str) -> None:
    engine = create_engine(sqlalchemy_url(database_url))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_going_down_leaves_no_function_behind(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url)
    migrations.downgrade(empty_database_url)
    engine = create_engine(sqlalchemy_url(empty_database_url))
    with engine.connect() as connection:
        left = connection.execute(text("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"))
        assert left.all() == []
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite:///x.db", "mysql://root@localhost/x"])
def test_there_is_no_other_dialect(url: str) -> None:
    with pytest.raises(ValueError, match="postgresql://"):
        sqlalchemy_url(url)
