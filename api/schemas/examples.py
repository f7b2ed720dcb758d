"""An example of each schema, by its name in the API's description: one study, seen in all of them.

A test holds each to its schema, and lets no schema be without one.
"""

from typing import Any, Final

from models.labels import EMOTIONS

_SCORES: Final = dict.fromkeys(EMOTIONS, 0.01) | {"surprise": 0.49, "happiness": 0.25}
_SHA256: Final = "5f1d0a9be3c84b7d2e6f8091a7b3c5d4e6f708192a3b4c5d6e7f8091a2b3c4d5"
_ERROR: Final = {"code": "truncated", "message": "The file ends too early: 4,096 bytes."}

_COUNTS: Final = {
    "total": 1200, "pending": 350, "classified": 802, "no_face": 45, "unreadable": 3, "failed": 0,
    "cancelled": 0,
}  # fmt: skip

_DETECTION: Final = {
    "mode": "auto",
    "detector": "YuNet",
    "detector_sha256": _SHA256,
    "min_face": 20,
    "threshold": 0.72,
}
_JOB: Final = {
    "id": 42,
    "folder": "/photos/study-1",
    "recursive": True,
    "model": "Cuemill1",
    "model_release_id": 1,
    "metadata": {"study": "pilot"},
    "status": "running",
    "counts": _COUNTS,
    "faces": 1013,
    "reused": 120,
    "detection": _DETECTION,
    "exclude": ["@eaDir"],
    "is_selection": False,
    "upload": None,
    "skipped": {"@eaDir": 2, ".jxl": 7},
    "images_per_second": 118.4,
    "eta_seconds": 3.0,
    "error": None,
    "trouble": None,
    "queued_at": "2026-11-27T09:30:00Z",
    "running_at": "2026-11-27T09:30:01Z",
    "scanned_at": "2026-11-27T09:30:03Z",
    "completed_at": None,
    "cancelled_at": None,
    "failed_at": None,
    "retention_days": 30,
    "expires_at": None,
}
_BOX: Final = {"x": 412, "y": 96, "width": 130, "height": 171}
_FACE: Final = {
    "index": 0,
    "box": _BOX,
    "confidence": 0.93,
    "roll": -4.2,
}
_RESULT: Final = {
    "job_id": 42,
    "path": "day-2/friends.jpg",
    "outcome": "classified",
    "error": None,
    "face": _FACE,
    "emotion": "surprise",
    "score": 0.49,
    "scores": _SCORES,
    "model": "Cuemill1",
}
_SHARE: Final = {
    "count": 301,
    "mean_score": 0.31,
    "histogram": [402, 130, 98, 82, 77, 71, 60, 48, 30, 15],
}
_FOLDER_SHARE: Final = {"folder": "day-2", "faces": 412, "emotions": {"surprise": 104, "fear": 31}}
_FACE_RESULT: Final = {**_FACE, "emotion": "surprise", "score": 0.49, "scores": _SCORES}

_PLAN: Final = {
    "data": ["/photos/labelled"],
    "validation": [],
    "candidates": ["cuemill1"],
    "select_by": "accuracy",
    "weights": "imagenet",
    "seed": 0,
}
_EPOCH: Final = {
    "candidate": "cuemill1",
    "epoch": 1,
    "loss": 1.42,
    "accuracy": 0.47,
    "val_loss": 1.31,
    "val_accuracy": 0.52,
    "seconds": 61.5,
}
_SKIPPED: Final = {"path": "../notes.txt", "reason": "The path leads out of the archive."}
_FIELD_ERROR: Final = {"pointer": "#/min_face", "detail": "Input should be a valid integer"}
_KEY: Final = {"id": "9f3c2a1b", "name": "notebook", "scope": "submit", "expires_at": None}
_REQUEST_LIMIT: Final = {"limit": 600, "remaining": 588, "reset_seconds": 2}
_JOB_LIMIT: Final = {"limit": 100, "used": 3}
_UPLOAD_LIMITS: Final = {
    "files": 100000, "file_bytes": 134217728, "bytes": 53687091200, "ratio": 100,
}  # fmt: skip

_WEBHOOK: Final = {
    "id": 2,
    "url": "https://example.org/cuemill",
    "events": ["job.completed", "job.failed"],
    "enabled": True,
    "created_at": "2026-11-27T09:00:00Z",
}
_ATTEMPT: Final = {"at": "2026-11-27T09:30:14Z", "status": 503, "error": None, "seconds": 0.2}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "AuditEntry": {
        "id": 311,
        "at": "2026-11-27T09:30:00Z",
        "actor": "notebook",
        "key_id": "9f3c2a1b",
        "act": "job.submit",
        "target": "42",
    },
    "Box": _BOX,
    "Counts": _COUNTS,
    "Delivery": {
        "id": 17,
        "webhook_id": 2,
        "job_id": 42,
        "message": "msg_2f1c9a7be3d04c58",
        "event": "job.completed",
        "state": "pending",
        "created_at": "2026-11-27T09:30:14Z",
        "ended_at": None,
        "next_attempt_at": "2026-11-27T09:30:19Z",
        "attempts": [_ATTEMPT],
    },
    "DeliveryAttempt": _ATTEMPT,
    "DetectionInfo": _DETECTION,
    "Emotion": {"index": 9, "name": "doubt_confusion", "title": "Doubt/Confusion"},
    "EmotionShare": _SHARE,
    "Epoch": _EPOCH,
    "ErrorInfo": _ERROR,
    "Face": _FACE,
    "FaceResult": _FACE_RESULT,
    "FieldError": _FIELD_ERROR,
    "FolderShare": _FOLDER_SHARE,
    "Image": {
        "job_id": 42,
        "number": 7,
        "path": "day-2/friends.jpg",
        "outcome": "classified",
        "error": None,
        "faces": [_FACE_RESULT],
        "model": "Cuemill1",
        "previous": 6,
        "next": 8,
    },
    "Job": _JOB,
    "JobLimit": _JOB_LIMIT,
    "JobRequest": {"folder": "/photos/study-1", "metadata": {"study": "pilot"}},
    "KeyInfo": _KEY,
    "Limits": {
        "key": _KEY,
        "requests": _REQUEST_LIMIT,
        "live_jobs": _JOB_LIMIT,
        "uploads": _UPLOAD_LIMITS,
    },
    "Liveness": {"status": "ok"},
    "NewWebhook": _WEBHOOK | {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},
    "Problem": {
        "type": "/docs/errors#invalid_request",
        "title": "Unprocessable Entity",
        "status": 422,
        "code": "invalid_request",
        "detail": "body.min_face: Input should be a valid integer",
        "errors": [_FIELD_ERROR],
        "request_id": "9c1f3a52d0b7e864",
    },
    "Readiness": {
        "status": "degraded",
        "checks": {"database": "ok", "workers": "No worker is alive. Start `cuemill worker`."},
    },
    "Release": {
        "id": 1,
        "sha256": _SHA256,
        "name": "Cuemill1",
        "labels": list(EMOTIONS),
        "trained_labels": ["anger", "fear", "happiness", "sadness", "surprise"],
        "metrics": {"val_accuracy": 0.52},
        "is_default": True,
        "created_at": "2026-11-20T08:00:00Z",
    },
    "RequestLimit": _REQUEST_LIMIT,
    "Result": _RESULT,
    "Retried": _JOB | {"retried": 3},
    "Skipped": _SKIPPED,
    "Summary": {
        "job_id": 42,
        "counts": _COUNTS,
        "faces": 1013,
        "emotions": {"surprise": _SHARE},
        "folders": [_FOLDER_SHARE],
        "folders_left_out": 0,
    },
    "Training": {
        "id": 3,
        "plan": _PLAN,
        "status": "running",
        "candidate": "cuemill1",
        "epochs": 25,
        "history": [_EPOCH],
        "comparison": None,
        "model_release_id": None,
        "error": None,
        "queued_at": "2026-11-27T09:30:00Z",
        "running_at": "2026-11-27T09:30:02Z",
        "completed_at": None,
        "cancelled_at": None,
        "failed_at": None,
    },
    "TrainingRequest": {"data": ["/photos/labelled"], "candidates": ["cuemill1"]},
    "Upload": {
        "id": "0123456789abcdef0123456789abcdef",
        "files": 1200,
        "bytes": 734003200,
        "skipped": [_SKIPPED],
        "skipped_files": 1,
        "created_at": "2026-11-27T09:20:00Z",
        "expires_at": "2026-11-28T09:20:00Z",
        "job_id": None,
    },
    "UploadLimits": _UPLOAD_LIMITS,
    "UploadedFile": {"path": "day-2/friends.jpg", "bytes": 611734},
    "Webhook": _WEBHOOK,
    "WebhookRequest": {"url": "https://example.org/cuemill", "events": ["job.completed"]},
    "Worker": {
        "name": "render-1:4711:a81f3c02",
        "alive": True,
        "processes": 8,
        "job_id": None,
        "silent_s": 1.8,
        "idle_s": 0.4,
        "unswept_s": 3.1,
        "clock_ahead_s": 0.0,
        "troubles": [],
    },
}


def example_of(schema: str) -> dict[str, Any] | None:
    """The example of a schema; for `Page_Job_`, a page of one job."""
    item = schema.removeprefix("Page_").removesuffix("_")
    if item not in EXAMPLES:
        return None
    if item == schema:
        return EXAMPLES[item]
    return {"data": [EXAMPLES[item]], "has_more": True, "next": "42"}
