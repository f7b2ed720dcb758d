"""Route of images."""

import numpy as np
from fastapi.testclient import TestClient

from models.store import batches
from models.store.database import Database
from models.store.records import FaceRecord, ImageRecord
from models.store.states import Outcome
from tests.api.responses import problem_detail
from tests.builders import SCORES, claim_batch, list_folder, queue_job

HAPPY = np.eye(28, dtype=np.float32)[16]


def test_an_image_has_all_its_faces_and_its_neighbours(
    client: TestClient, db: Database, release_id: int
) -> None:
    list_folder(db, queue_job(db, release_id), 4)
    claim = claim_batch(db)
    faces = [FaceRecord(HAPPY, (1, 2, 30, 40), 0.9, 2.5), FaceRecord(SCORES, (50, 2, 9, 9), 0.8, 0)]
    rows = [
        ImageRecord(0, "a.jpg", Outcome.CLASSIFIED, faces=faces),
        ImageRecord(2, "c.jpg", Outcome.UNREADABLE, "truncated", "Cut off."),
        ImageRecord(3, "d.jpg", Outcome.CLASSIFIED, faces=faces[1:]),
    ]
    batches.complete(db, claim, rows)

    image = client.get("/v1/jobs/1/images/0").raise_for_status().json()
    assert (image["path"], image["outcome"], image["error"]) == ("a.jpg", "classified", None)
    assert (image["previous"], image["next"]) == (None, 2)
    assert [face["index"] for face in image["faces"]] == [0, 1]
    assert image["faces"][0]["box"] == {"x": 1, "y": 2, "width": 30, "height": 40}
    assert (image["faces"][0]["emotion"], image["faces"][0]["score"]) == ("happiness", 1.0)
    assert len(image["faces"][1]["scores"]) == 28

    image = client.get("/v1/jobs/1/images/2").raise_for_status().json()
    assert (image["faces"], image["error"]["code"]) == ([], "truncated")
    assert (image["previous"], image["next"]) == (0, 3)
    assert client.get("/v1/jobs/1/images/3").json()["next"] is None

    assert "image 1" in problem_detail(client.get("/v1/jobs/1/images/1"), 404, "not_found")
    problem_detail(client.get("/v1/jobs/2/images/0"), 404, "not_found")
