import signal

import pytest

from cli.train import Bars


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_ends_a_training_also_where_python_drops_it() -> None:
    class Collected:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    with Bars() as bars:
        bars.candidate("model1", epochs=2)
        bars.batch(1, 1, 10)
        Collected()
        with pytest.raises(KeyboardInterrupt):
            bars.batch(1, 2, 10)


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_ctrl_c_did_before_a_training_it_does_after_it(before: signal.Handlers) -> None:
    kept = signal.signal(signal.SIGINT, before)
    try:
        with Bars():
            assert (signal.getsignal(signal.SIGINT) is signal.SIG_IGN) == (before is signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGINT, kept)
