"""Which engine runs a release: the settings say. Only the one chosen is imported."""

from models.errors import EngineError
from models.release.release import Release
from models.settings import Settings
from worker.engines.base import Engine


def load_engine(release: Release, settings: Settings) -> Engine:
    """Makes the engine of `settings.engine` and `settings.precision`, on one core: there is a worker for each.

    Raises:
        EngineError: it isn't installed, or it can't run this network or at this precision.
    """
    if settings.engine == "tensorflow":
        from worker.engines.keras import TensorFlowEngine

        if settings.precision in ("bf16", "int8"):
            raise EngineError(
                "The TensorFlow engine runs in f32 only; set CUEMILL_PRECISION to auto or f32."
            )
        return TensorFlowEngine(release)
    from worker.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(release, settings.precision)
