"""What the API answers, as dataclasses. Fields that this version does not know are ignored."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

EMOTIONS: Final = (
    "affection",
    "anger",
    "annoyance",
    "anticipation",
    "aversion",
    "confidence",
    "disapproval",
    "disconnection",
    "disquietment",
    "doubt_confusion",
    "embarrassment",
    "engagement",
    "esteem",
    "excitement",
    "fatigue",
    "fear",
    "happiness",
    "pain",
    "peace",
    "pleasure",
    "sadness",
    "sensitivity",
    "suffering",
    "surprise",
    "sympathy",
    "yearning",
    "disgust",
    "neutral",
)

_PLAIN: Final = (int, float, str, Any)
"""Values that JSON gives as they are; a result has 28 scores."""

ENDED: Final = ("completed", "cancelled", "failed")


@dataclass(frozen=True)
class ErrorInfo:
    """Why a job or an image failed.

    Attributes:
        code: stable, safe to test for.
    """

    code: str
    message: str


@dataclass(frozen=True)
class Counts:
    """Of images: total = pending + classified + no_face + unreadable + failed + cancelled."""

    total: int
    pending: int
    classified: int
    no_face: int
    unreadable: int
    failed: int
    cancelled: int


@dataclass(frozen=True)
class Detection:
    """How a job's faces are found; all but `mode` are None if each picture is taken whole."""

    mode: str
    detector: str | None
    detector_sha256: str | None
    min_face: int | None
    threshold: float | None


@dataclass(frozen=True)
class Job:
    """A folder, or an upload, to classify.

    Attributes:
        status: queued, running, completed, cancelled or failed.
        counts: of images. `counts.total` grows until `scanned_at` is set.
        faces: how many have a prediction.
        trouble: why the job's folder cannot be used at present; it is tried again.
    """

    id: int
    folder: str
    recursive: bool
    model: str
    model_release_id: int
    metadata: dict[str, Any] | None
    status: str
    counts: Counts
    faces: int
    reused: int
    detection: Detection
    exclude: list[str]
    is_selection: bool
    upload: str | None
    skipped: dict[str, int]
    images_per_second: float | None
    eta_seconds: float | None
    error: ErrorInfo | None
    trouble: str | None
    queued_at: datetime
    running_at: datetime | None
    scanned_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None
    retention_days: int | None
    expires_at: datetime | None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True)
class Retried(Job):
    """A job whose images are queued again, and how many."""

    retried: int


@dataclass(frozen=True)
class Box:
    """In pixels of the upright image."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Face:
    """Where a face is; all but `index` are None if the whole image was taken as one."""

    index: int
    box: Box | None
    confidence: float | None
    roll: float | None


@dataclass(frozen=True)
class Result:
    """One face, or an image without one.

    Attributes:
        path: of the image, relative to the job's folder.
        outcome: classified, no_face, unreadable or failed.
        emotion: the one with the highest score.
        scores: all 28; they sum to 1.
        model: the release that made the prediction.
    """

    job_id: int
    path: str
    outcome: str
    error: ErrorInfo | None
    face: Face | None
    emotion: str | None
    score: float | None
    scores: dict[str, float] | None
    model: str | None


@dataclass(frozen=True)
class EmotionShare:
    """The faces for which an emotion scored highest, and how it scored on all faces.

    Attributes:
        histogram: faces by its score, in ten steps of 0.1.
    """

    count: int
    mean_score: float
    histogram: list[int]


@dataclass(frozen=True)
class FolderShare:
    """The faces of a folder, by the emotion that scored highest."""

    folder: str
    faces: int
    emotions: dict[str, int]


@dataclass(frozen=True)
class Summary:
    """How a job's faces spread over the emotions."""

    job_id: int
    counts: Counts
    faces: int
    emotions: dict[str, EmotionShare]
    folders: list[FolderShare]
    folders_left_out: int


@dataclass(frozen=True)
class Release:
    """A model release.

    Attributes:
        trained_labels: what the training data contained; empty = unknown.
        is_default: new jobs use this release.
    """

    id: int
    sha256: str
    name: str
    labels: list[str]
    trained_labels: list[str]
    metrics: dict[str, float]
    is_default: bool
    created_at: datetime


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Upload:
    """Files on their way to the server; a job of it owns them, and they go with it.

    Attributes:
        files: how many are there.
        skipped: the first files of its archive that were left out; `skipped_files` counts all.
        expires_at: when it is removed unless files are added; None once it has a job.
        job_id: None until a job is submitted.
    """

    id: str
    files: int
    bytes: int
    skipped: list[Skipped]
    skipped_files: int
    created_at: datetime
    expires_at: datetime | None
    job_id: int | None


@dataclass(frozen=True)
class UploadedFile:
    """A file of an upload, by its path within it."""

    path: str
    bytes: int


def parse(kind: type[T], value: Any) -> T:
    """A record from JSON.

    Raises:
        ValueError: a field is missing.
    """
    return cast("T", _parse(kind, value))


def _parse(kind: Any, value: Any) -> Any:
    if value is None or kind is Any:
        return value
    if is_dataclass(kind):
        return _parse_record(kind, value)
    if kind is datetime:
        return datetime.fromisoformat(value.replace("Z", "+00:00"))

    match get_origin(kind), get_args(kind):
        case (origin, (inner, *_)) if origin is UnionType:
            value = _parse(inner, value)
        case (origin, (inner,)) if origin is list and inner not in _PLAIN:
            value = [_parse(inner, item) for item in value]
        case (origin, (_, inner)) if origin is dict and inner not in _PLAIN:
            value = {name: _parse(inner, item) for name, item in value.items()}
    return value


def _parse_record(kind: Any, value: Mapping[str, Any]) -> Any:
    types = _types(kind)
    missing = [
        name
        for name, type_ in types.items()
        if name not in value and NoneType not in get_args(type_)
    ]
    if missing:
        raise ValueError(f"{kind.__name__} lacks {', '.join(missing)}")
    return kind(**{name: _parse(type_, value.get(name)) for name, type_ in types.items()})


@lru_cache
def _types(kind: Any) -> dict[str, Any]:
    """The fields of a record, with their types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}
