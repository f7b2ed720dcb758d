"""Jobs over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Final, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas.common import DIGITS, MAX_ID, WHOLE, ErrorInfo, JsonObject, Text
from models.pictures.detection import MIN_FACE, THRESHOLD, FaceMode
from models.store.jobs import JobView
from models.store.states import JobStatus

JobId = Annotated[int, Path(ge=1, le=MAX_ID, description="Id of the job."), DIGITS]


class JobOptions(BaseModel):
    """How to classify a folder."""

    # Strict: no "1" for 1, nor "yes" for true.
    model_config = ConfigDict(extra="forbid", strict=True)

    recursive: Annotated[bool, Field(description="Include subfolders.")] = True
    exclude: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=255)]],
        Field(
            max_length=100,
            description="Pass over files and folders of these names, as patterns with *, ? and "
            "[...]; with a slash, of these paths.",
        ),
    ] = []
    system_folders: Annotated[
        bool,
        Field(description="Do not pass over the folders that photo systems make, such as @eaDir."),
    ] = False
    model: Annotated[
        Text | None,
        Field(
            max_length=255,
            description="Name of a model release or a prefix of its SHA-256; null = the default.",
        ),
    ] = None
    faces: Annotated[
        FaceMode,
        Field(
            strict=False,
            description="whole: each picture is a cropped face. detect: find the faces in each "
            "picture. auto: decide for each picture.",
        ),
    ] = FaceMode.AUTO
    min_face: Annotated[
        int,
        Field(
            ge=1,
            le=65_535,
            description="Ignore faces whose box has a shorter side than this, in pixels.",
        ),
        WHOLE,
    ] = MIN_FACE
    face_threshold: Annotated[
        float, Field(ge=0.05, le=1, description="Ignore faces that the detector is less sure of.")
    ] = THRESHOLD
    metadata: Annotated[JsonObject | None, Field(description="Stored with the job.")] = None
    fresh: Annotated[
        bool,
        Field(description="Classify every image, even if an earlier job has its prediction."),
    ] = False
    trust_mtime: Annotated[
        bool,
        Field(
            description="Skip reading files whose size and modification time match those recorded "
            "by the folder's last job."
        ),
    ] = False
    retention_days: Annotated[
        int | None,
        Field(
            ge=0,
            le=36_500,
            description="Delete the job this many days after it ends; 0 = never, null = "
            "CUEMILL_RETENTION_DAYS.",
        ),
        WHOLE,
    ] = None


RATES: Final = {"images_per_second", "eta_seconds"}
"""Fields that move even if nothing has happened to the job."""


class JobRequest(JobOptions):
    """A folder to classify, or an upload."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["folder"]}, {"required": ["upload"]}]}
    )

    folder: Annotated[
        Text,
        Field(
            min_length=1,
            max_length=4096,
            description="Absolute path of a folder within CUEMILL_IMAGE_ROOTS.",
        ),
    ] = ""
    upload: Annotated[
        str,
        Field(
            pattern="^[0-9a-f]{32}$",
            description="Id of an upload, instead of a folder: its files are classified.",
        ),
    ] = ""

    @model_validator(mode="after")
    def _name_one(self) -> Self:
        if len(self.model_fields_set & {"folder", "upload"}) != 1:
            raise ValueError("give either folder or upload")
        return self


class Counts(BaseModel):
    """total = pending + classified + no_face + unreadable + failed + cancelled."""

    model_config = ConfigDict(from_attributes=True)

    total: int
    pending: int
    classified: int
    no_face: int
    unreadable: int
    failed: int
    cancelled: int


class DetectionInfo(BaseModel):
    """How faces are found; all but `mode` are null if each picture is taken whole."""

    mode: FaceMode
    detector: str | None = Field(description="Name of the detector.")
    detector_sha256: str | None
    min_face: int | None = Field(description="As requested, in pixels.")
    threshold: float | None = Field(description="As requested, in [0, 1].")


class Job(BaseModel):
    """A job. `counts.total` grows until `scanned_at` is set, when the folder is fully listed."""

    id: int
    folder: str
    recursive: bool
    model: str
    model_release_id: int
    metadata: dict[str, Any] | None
    status: JobStatus
    counts: Counts
    faces: int = Field(description="Faces with a prediction; all other counts are of images.")
    reused: int = Field(
        description="Classified images whose predictions were copied from an earlier job."
    )
    detection: DetectionInfo
    exclude: list[str] = Field(description="Patterns of what is passed over.")
    is_selection: bool = Field(description="Whether it is about single files of the folder.")
    upload: str | None = Field(description="Id of the upload whose files these are, if any.")
    skipped: dict[str, int] = Field(
        description="Files and folders that were passed over: by pattern, by the ending of a "
        "picture that is not read, or as `hidden` or `other`. They are not in `counts`."
    )
    images_per_second: float | None = Field(
        description="Average since the job started running; null before the first image."
    )
    eta_seconds: float | None = Field(
        description="Estimated seconds left; null until the folder is listed and after the end."
    )
    error: ErrorInfo | None = Field(description="Why the job failed.")
    trouble: str | None = Field(
        description="Why the job's folder cannot be used at present; it is tried again."
    )
    queued_at: datetime
    running_at: datetime | None
    scanned_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None
    retention_days: int | None = Field(
        description="As requested; null = CUEMILL_RETENTION_DAYS applies."
    )
    expires_at: datetime | None = Field(
        description="When the job will be deleted; null while it runs, or if it is kept forever."
    )

    @classmethod
    def from_view(cls, view: JobView, default_retention_days: int, **more: Any) -> Self:
        return cls(**view.to_plain(default_retention_days), **more)


class Retried(Job):
    retried: int = Field(description="Number of images queued again.")


class EmotionShare(BaseModel):
    count: int = Field(description="Faces for which this emotion scored highest.")
    mean_score: float = Field(description="Mean over all faces of the job, in [0, 1].")
    histogram: list[int] = Field(
        description="Faces by their score for this emotion, in ten steps of 0.1."
    )


class FolderShare(BaseModel):
    folder: str = Field(description="Relative to the job's folder; empty = that folder itself.")
    faces: int
    emotions: dict[str, int] = Field(
        description="For each emotion, the faces for which it scored highest."
    )


class Summary(BaseModel):
    job_id: int
    counts: Counts
    faces: int = Field(description="Faces with a prediction.")
    emotions: dict[str, EmotionShare]
    folders: list[FolderShare] = Field(
        description="Folders of the images, in order of their names: those with the most faces."
    )
    folders_left_out: int = Field(description="How many other folders there are.")
