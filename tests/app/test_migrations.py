"""The migrations: up, down, up again, and exactly the tables that the code works with."""

from uuid import UUID

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from app.store import migrations, scores
from app.store.database import Database, sqlalchemy_url
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


BEFORE_INTERVALS = """
INSERT INTO products (slug, title, feature_schema, schema_sha256, outcome, points_scale)
    VALUES ('card', 'Card', '{}', '', '{}', '{"base_points": 600, "base_odds": 50, "pdo": 20}');
INSERT INTO markets (product_id, slug, currency, activation) SELECT id, 'north', 'EUR', 'automatic' FROM products;
INSERT INTO thetas (product_id, version, recipe, seed, schema_sha256, weights, sha256, report)
    SELECT id, 1, '{}', 0, '', '', '', '{}' FROM products;
INSERT INTO scores (id, market_id, features, unseen, pd, points, theta_id)
    SELECT '00000000-0000-4000-8000-000000000001', m.id, '{}', '{}', 0.1, 600, t.id FROM markets m, thetas t;
"""


def test_scores_from_before_intervals_are_kept_without_them(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url, "0003")
    database = Database(empty_database_url)
    with database.writing() as tx:
        tx.exec_driver_sql(BEFORE_INTERVALS)
    for _ in range(2):
        migrations.upgrade(empty_database_url)
        with database.reading() as tx:
            found = scores.find_score(tx, UUID("00000000-0000-4000-8000-000000000001"))
        assert found is not None
        assert (found.pd, found.pd_low, found.pd_high, found.reasons, found.n_defaults) == (0.1, None, None, None, None)
        migrations.downgrade(empty_database_url, "0003")
    database.close()
