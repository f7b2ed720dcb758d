"""What to do about images without a result, by the code that their rows carry."""

from typing import Final

from models.errors import ImageCode

REMEDIES: Final[dict[str, str]] = {
    ImageCode.VANISHED: "The file was moved or deleted after it was listed. Put it back and retry, "
    "or submit the folder again.",
    ImageCode.LINKED_FOLDER: "Folders behind links are not entered. Submit the folder that the "
    "link leads to.",
    ImageCode.FOLDER_UNREADABLE: "Give the user that runs the workers the right to read this "
    "folder, then retry.",
    ImageCode.OUTSIDE_FOLDER: "Links are followed within the job's folder alone. Submit the folder "
    "that the link leads to.",
    ImageCode.LINK_LOOP: "Correct or delete the link.",
    ImageCode.NOT_A_FILE: "Devices and pipes are not read. Delete it, or exclude its name.",
    ImageCode.PERMISSION_DENIED: "Give the user that runs the workers the right to read these "
    "files, then retry.",
    ImageCode.TOO_LARGE: "Save it smaller, then retry.",
    ImageCode.READ_ERROR: "The drive failed, not the picture. Check it, then retry.",
    ImageCode.READ_TIMEOUT: "The drive did not answer. Check it or its mount, then retry.",
    ImageCode.EMPTY: "The file has no content: a copy was cut short. Copy it again, then retry.",
    ImageCode.NOT_AN_IMAGE: "The content is no picture that Cuemill reads, whatever the name says. "
    "Convert it, or exclude its name.",
    ImageCode.TOO_MANY_PIXELS: "Save it with fewer pixels, then retry.",
    ImageCode.TRUNCATED: "Much of the file is missing: a copy was cut short. Copy it again, then "
    "retry.",
    ImageCode.UNDECODABLE: "The file is damaged. Restore it from its source, then retry.",
    ImageCode.NOT_FINITE: "The network gave no valid scores for it. Retry with another model.",
    ImageCode.OUT_OF_MEMORY: "The host ran out of memory. Run fewer workers on it, then retry.",
    ImageCode.WORKER_DIED: "Workers died over it again and again, so it is left alone. Their log "
    "says more. Please report it as a bug.",
    ImageCode.NOT_RECORDED: "The database refused its row. The workers' log says why.",
    ImageCode.TOO_MANY_FACES: "Only the first faces were classified. Cut the picture into parts.",
}


def remedy_of(code: str) -> str:
    """A sentence or two; empty for a code that another version of Cuemill wrote."""
    return REMEDIES.get(code, "")
