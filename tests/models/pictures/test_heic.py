"""HEIC without the extra: pictures are counted with the remedy, or say it themselves."""

import subprocess
import sys

WITHOUT_THE_EXTRA = """
import sys
sys.modules["pillow_heif"] = None

from models.errors import ImageError
from models.pictures.decode import decode
from models.sources.names import is_image, kind_of
from models.sources.skipped import describe

assert not is_image(b"a.heic")
print(*describe({kind_of(b"a.HEIC"): 9}))
try:
    decode(bytes(4) + b"ftypheic" + bytes(99), (48, 48))
except ImageError as error:
    print(error)
"""


def test_without_the_extra_heic_pictures_name_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "9 files skipped: 9 .heic (install cuemill[heic]).",
        "The file is a HEIC picture. To read it, run `pip install 'cuemill[heic]'` and restart the "
        "workers.",
    ]
