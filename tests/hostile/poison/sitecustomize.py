"""A decoder that crashes on one image's content, in processes with this folder in PYTHONPATH.

Python imports a module of this name when it starts, so the program under test stays unchanged.
"""

import os
import signal
from typing import Any

import simplejpeg

_original = simplejpeg.decode_jpeg_header


def _decode_jpeg_header(data: bytes, *arguments: Any, **options: Any) -> Any:
    if b"poison" in data:
        os.kill(os.getpid(), signal.SIGSEGV)
    return _original(data, *arguments, **options)


simplejpeg.decode_jpeg_header = _decode_jpeg_header
