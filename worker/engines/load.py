"""Creates the engine that the settings name. Only that engine's library is imported."""

from models.errors import EngineError
from models.release.release import Release
from models.settings import Settings
from worker.engines.base import Engine


def load_engine(release: Release, settings: Settings) -> Engine:
    """Creates an engine by `settings.engine` and `settings.precision`.

    It uses one core, because there is a worker for each.

    Raises:
        EngineError: the engine is not installed, or cannot run this network or at this precision.
    """
    if settings.engine == "keras":
        from worker.engines.keras import KerasEngine

        if settings.precision in ("bf16", "int8"):
            raise EngineError(
                f"The Keras engine does not support {settings.precision}. "
                "Set CUEMILL_PRECISION to auto or f32."
            )
        return KerasEngine(release)

    from worker.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(release, settings.precision)
