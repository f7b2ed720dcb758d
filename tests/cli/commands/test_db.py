"""`cuemill db`."""

from models.store.tables import REVISION
from tests.integration.deployment import Deployment


def test_upgrade_says_which_database_is_at_which_revision(cuemill: Deployment) -> None:
    said = cuemill.run("db", "upgrade").stderr
    assert said.startswith("Database sqlite:///")
    assert said.endswith(f"is at revision {REVISION}.\n")
