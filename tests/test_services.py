"""The private servers: one that an earlier test left dead answers the next test."""

from tests.services import run_postgres, run_redis


def test_a_redis_that_died_is_started_again() -> None:
    with run_redis() as server:
        server.kill()
        server.revive()
        server.flush()


def test_a_postgresql_that_crashed_is_started_again_with_its_databases() -> None:
    with run_postgres() as server:
        server.create_database()
        server.stop(immediately=True)
        server.revive()
        assert server.execute("SELECT count(*) FROM pg_database WHERE datname = 'test_1'") == [(1,)]
