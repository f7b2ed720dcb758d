"""HEIC, the format of iPhones: read if the extra `cuemill[heic]` is installed."""

from typing import Final


def _register() -> tuple[str, ...]:
    try:
        import pillow_heif
    except ImportError:
        return ()

    pillow_heif.options.DECODE_THREADS = 1  # There is a worker process for each core.
    pillow_heif.register_heif_opener(thumbnails=False)
    return ("HEIF",)


HEIC: Final = _register()
"""The name of Pillow's plug-in, if there is one."""
