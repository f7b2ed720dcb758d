"""When int8 may be chosen automatically."""

import pytest

from models.release.release import Int8


@pytest.mark.parametrize(("accuracy", "admitted"), [(0.7, True), (0.697, True), (0.6969, False)])
def test_int8_is_admitted_up_to_the_three_thousandths_it_may_lose(
    accuracy: float, admitted: bool
) -> None:
    assert Int8({}, accuracy, 0.7, 1000).admitted == admitted
