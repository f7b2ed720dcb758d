"""How a request becomes a job, whether it names a folder, names an upload or brings its files."""

from dataclasses import dataclass
from functools import partial

from api.context import Context
from api.schemas.jobs import JobOptions
from models.release.detectors import choose_detection
from models.sources.exclusions import patterns_for
from models.sources.names import to_text
from models.sources.roots import check_folder, patterns_without
from models.store import jobs, releases
from models.store.jobs import JobView, Submission


@dataclass(frozen=True)
class Source:
    """Where the pictures are.

    Args:
        exclude: patterns of what the API never reads there.
        upload: whose folder it is, if it is one in the spool.
        content: a digest of what was uploaded with the request.
    """

    folder: bytes
    exclude: tuple[str, ...] = ()
    upload: str | None = None
    content: str | None = None


async def find_folder(context: Context, folder: str) -> Source:
    """
    Raises:
        CuemillError: the folder cannot be read, or may not be.
    """
    spool = context.settings.spool_folder
    check = partial(check_folder, folder.encode(), context.settings.image_roots, spool)
    path = await context.folders.run(check)
    return Source(path, patterns_without(spool, path))


def submit(
    context: Context, options: JobOptions, source: Source, idempotency_key: str | None
) -> tuple[JobView, bool]:
    """Queues a job. Returns it, and whether it is new.

    Raises:
        CuemillError: as `jobs.submit`, or the model does not exist.
    """
    release_id = releases.resolve_name(context.db, options.model, context.settings.model)
    exclude = [to_text(pattern.encode()) for pattern in options.exclude]

    submission = Submission(
        folder=to_text(source.folder),
        model_release_id=release_id,
        recursive=options.recursive,
        exclude=(
            *patterns_for(exclude, system_folders=options.system_folders),
            *source.exclude,
        ),
        batch_size=context.settings.batch_size,
        metadata=options.metadata,
        idempotency_key=idempotency_key,
        fresh=options.fresh,
        trust_mtime=options.trust_mtime,
        retention_days=options.retention_days,
        model=options.model,
        detection=choose_detection(options.faces, options.min_face, options.face_threshold),
        upload=source.upload,
        content=source.content,
    )
    return jobs.submit(context.db, submission)
