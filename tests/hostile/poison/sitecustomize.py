"""A decoder with a fault, for processes that have this folder in PYTHONPATH: one image's content makes it crash.

Python imports a module of this name by itself at its start, so the program under test stays as it is.
"""

import os
import signal
from typing import Any

import simplejpeg

_sound = simplejpeg.decode_jpeg_header


def _decode_jpeg_header(data: bytes, *arguments: Any, **options: Any) -> Any:
    if b"poison" in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    return _sound(data, *arguments, **options)


simplejpeg.decode_jpeg_header = _decode_jpeg_header
