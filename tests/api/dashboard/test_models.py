"""The cards of the models."""

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from models.store import releases
from models.store.database import Database
from models.store.tables import ModelRelease
from tests.api.dashboard.reading import HOSTILE, Page
from tests.builders import add_release


def test_models_are_shown_with_what_they_can_do(
    client: TestClient, db: Database, release_id: int
) -> None:
    with db.write() as connection:
        values = {"metrics": {"val_accuracy": 0.678}, "trained_labels": ["anger", "fear"]}
        connection.execute(sa.update(ModelRelease).values(values))
    text = Page(client.get("/models")).text
    assert "tiny Default 0.678 Accuracy" in text
    assert "2 of 28 seen in its training: Anger, Fear" in text
    assert releases.get(db, release_id).sha256 in text


def test_a_form_makes_another_model_the_default(
    client: TestClient, db: Database, release_id: int
) -> None:
    other = add_release(db, "other")
    page = Page(client.get("/models"))
    (form,) = page.all("form")
    assert (form["method"], form["action"]) == ("post", f"/models/{other}/promote")

    page = Page(client.post(form["action"]))
    assert page.title == "Models · Cuemill"
    assert releases.get(db, other).is_default
    assert page.text.index("other Default") < page.text.index("tiny Make it the default")


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_form_of_another_site_is_refused(
    client: TestClient, db: Database, release_id: int, origin: str
) -> None:
    response = client.post(f"/models/{release_id}/promote", headers={"Origin": origin})
    assert response.status_code == 403
    assert not releases.get(db, release_id).is_default


def test_the_name_of_a_model_cannot_run_scripts(
    client: TestClient, db: Database, release_id: int
) -> None:
    with db.write() as connection:
        connection.execute(sa.update(ModelRelease).values(name=HOSTILE))
    add_release(db, "other")
    assert HOSTILE in Page(client.get("/models")).text
