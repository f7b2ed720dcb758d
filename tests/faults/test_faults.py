"""Each row of the fault table in a small dose; `make faults` runs the full ones."""

from pathlib import Path

import pytest

from tests.faults.campaigns import CAMPAIGNS
from tests.faults.ground import Faces, Ground, make_ground_truth
from tests.faults.oracle import Verdict
from tests.services import Postgres, Redis


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Faces:
    return make_ground_truth(tmp_path_factory.mktemp("truth"), tiny_model)


@pytest.mark.parametrize("name", [name for name in CAMPAIGNS if CAMPAIGNS[name].small])
def test_nothing_is_lost_doubled_or_miscounted_by(
    name: str, faces: Faces, tiny_model: Path, postgres_server: Postgres, redis_server: Redis
) -> None:
    campaign = CAMPAIGNS[name]
    record = campaign.run(Ground(tiny_model, faces, postgres_server, redis_server), campaign.small)
    assert record.verdict == Verdict()
