"""Results as data frames of pandas or polars, whichever is installed."""

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from cuemill_client.errors import MissingLibraryError
from cuemill_client.records import EMOTIONS, Result

if TYPE_CHECKING:
    import pandas
    import polars

COLUMNS: Final[dict[str, type]] = {
    "job_id": int,
    "path": str,
    "outcome": str,
    "error_code": str,
    "error_message": str,
    "face_index": int,
    "box_x": int,
    "box_y": int,
    "box_width": int,
    "box_height": int,
    "face_confidence": float,
    "face_roll": float,
    "emotion": str,
    "score": float,
    **dict.fromkeys(EMOTIONS, float),
    "model": str,
}
"""Those of Cuemill's CSV, and of which type their values are. All but three may be missing."""

_PANDAS: Final = {int: "Int64", float: "float64", str: "string"}
_POLARS: Final = {int: "Int64", float: "Float64", str: "String"}


def to_pandas(results: Iterable[Result]) -> "pandas.DataFrame":
    pandas = _load("pandas")
    types = {name: _PANDAS[kind] for name, kind in COLUMNS.items()}
    return pandas.DataFrame(_to_columns(results)).astype(types)


def to_polars(results: Iterable[Result]) -> "polars.DataFrame":
    polars = _load("polars")
    types = {name: getattr(polars, _POLARS[kind]) for name, kind in COLUMNS.items()}
    return polars.DataFrame(_to_columns(results), schema=types)


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            f"to_{name} requires {error.name}. Run `pip install {name}`."
        ) from error


def _to_columns(results: Iterable[Result]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for result in results:
        for column, value in zip(columns.values(), _to_row(result), strict=True):
            column.append(value)
    return columns


def _to_row(result: Result) -> list[Any]:
    error, face, scores = result.error, result.face, result.scores or {}
    box = face.box if face else None
    return [
        result.job_id,
        result.path,
        result.outcome,
        error.code if error else None,
        error.message if error else None,
        face.index if face else None,
        *((box.x, box.y, box.width, box.height) if box else (None, None, None, None)),
        face.confidence if face else None,
        face.roll if face else None,
        result.emotion,
        result.score,
        *(scores.get(emotion) for emotion in EMOTIONS),
        result.model,
    ]
