"""Programs whose database was upgraded by a newer one."""

import socket
import subprocess

import sqlalchemy as sa

from tests.integration.deployment import CUEMILL, Deployment
from tests.services import free_port, patience, wait_until


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_programs_of_older_tables_stop_and_say_why(embedded: Deployment) -> None:
    embedded.run("db", "upgrade")
    ports = free_port(), free_port()
    arguments = {
        "worker": ["worker"],
        "serve": ["serve", "--port", str(ports[0])],
        "up": ["up", "--port", str(ports[1])],
    }
    programs = {
        name: subprocess.Popen(
            [*CUEMILL, *words], env=embedded.variables, stderr=subprocess.PIPE, text=True
        )
        for name, words in arguments.items()
    }
    database = embedded.database()

    def count_programs() -> int:
        with database.read() as connection:
            return int(connection.scalar(sa.text("SELECT count(*) FROM workers")) or 0)

    wait_until(lambda: count_programs() == 2, "both worker programs to report")
    for port in ports:
        wait_until(lambda port=port: is_open(port), "the API to answer")  # type: ignore[misc]
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    for name, program in programs.items():
        _, errors = program.communicate(timeout=patience(120))
        assert (name, program.returncode) == (name, 1), errors
        assert "error: The database's tables have revision 9999" in errors
    assert count_programs() == 0
