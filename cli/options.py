"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Final

import typer

from cli.output import Format
from models.pictures.detection import FaceMode

MAX_ID: Final = 2**63 - 1

_MODEL_HELP: Final = "Path of a pickle, name of a release, or prefix of its SHA-256."


def _check_id(value: int | None) -> int | None:
    # In a callback rather than by min and max, which `--help` would show.
    if value is not None and not 1 <= value <= MAX_ID:
        raise typer.BadParameter("Expected the id of a job, such as 1.")
    return value


Folder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="Folder of images.", show_default=False, readable=False),
]
Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH...", help="Folders of images, or images.", show_default=False, readable=False
    ),
]
JobId = Annotated[
    int,
    typer.Argument(metavar="JOB", callback=_check_id, help="Id of the job.", show_default=False),
]
OptionalJobId = Annotated[
    int | None,
    typer.Argument(metavar="JOB", callback=_check_id, help="Id of the job.", show_default=False),
]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL_HELP, show_default=False)]

Model = Annotated[str | None, typer.Option(help=_MODEL_HELP)]
Recursive = Annotated[bool, typer.Option(help="Include subfolders.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB",
        help="Pass over files and folders of these names, such as '*_small.jpg'; with a slash, of "
        "these paths. Repeatable.",
        show_default=False,
    ),
]
SystemFolders = Annotated[
    bool,
    typer.Option(
        "--system-folders",
        help="Do not pass over the folders that photo systems make, such as @eaDir and #recycle.",
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh", help="Classify every image, even if an earlier job has its prediction."
    ),
]
TrustMtime = Annotated[
    bool,
    typer.Option(
        "--trust-mtime",
        help="Skip reading files whose size and modification time match those recorded by the "
        "folder's last job.",
    ),
]
Faces = Annotated[
    FaceMode,
    typer.Option(
        help="`whole`: each picture is a cropped face. `detect`: find the faces in each picture. "
        "`auto`: decide for each picture.",
    ),
]
MinFace = Annotated[
    int,
    typer.Option(
        min=1, max=65_535, help="Ignore faces whose box has a shorter side than this, in pixels."
    ),
]
FaceThreshold = Annotated[
    float,
    typer.Option(min=0.05, max=1, help="Ignore faces that the detector is less sure of."),
]
Detector = Annotated[
    Path | None,
    typer.Option(
        help="ONNX file of a face detector with YuNet's outputs.",
        show_default="YuNet, which is part of Cuemill",
        readable=False,
    ),
]
RetentionDays = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=36_500,
        help="Delete the job this many days after it ends; 0 = never.",
        show_default="CUEMILL_RETENTION_DAYS",
    ),
]

ResultFormat = Annotated[
    Format | None,
    typer.Option("--format", help="Output format.", show_default="table"),
]
ResultFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Write to this file. Its ending sets the format, unless --format does.",
    ),
]
Annotate = Annotated[
    Path | None,
    typer.Option(
        "--annotate",
        metavar="FOLDER",
        help="Also copy each picture that has faces to this folder, with boxes and labels drawn in "
        "and without metadata. It must be new, empty, or filled by an earlier run.",
        readable=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Number of worker processes.", show_default="one per core"),
]
Host = Annotated[
    str | None, typer.Option(help="Address to listen on.", show_default="CUEMILL_HOST")
]
Port = Annotated[int | None, typer.Option(help="Port to listen on.", show_default="CUEMILL_PORT")]

NoAuth = Annotated[
    bool | None,
    typer.Option(
        "--no-auth",
        help="Listen beyond this machine even though no key exists, and answer everybody.",
        show_default="CUEMILL_NO_AUTH",
    ),
]

LabelledImages = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="Labelled images, in the syntax of `cuemill train`. Repeat to merge several sources.",
    ),
]
