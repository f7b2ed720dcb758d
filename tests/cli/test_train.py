import signal

import pytest

from cli.train import Bars


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_ends_a_training_also_where_python_drops_it() -> None:
    class Collected:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with Bars() as bars:
        bars.candidate("model1", epochs=2)
        bars.batch(1, 1, 10)
        Collected()
        with pytest.raises(KeyboardInterrupt):
            bars.batch(1, 2, 10)
    assert signal.getsignal(signal.SIGINT) is before
