"""Draws docs/demo.svg, the output of `make demo`, and docs/annotated.jpg: `python -m docs.demo`."""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
COMMAND = ["cuemill", "classify", "samples/"]


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        variables = os.environ | {"CUEMILL_DATA_DIR": data, "FORCE_COLOR": "1", "COLUMNS": "110"}
        program = str(Path(sys.executable).parent / COMMAND[0])
        demo = subprocess.run(
            [program, *COMMAND[1:]],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        copies = Path(data) / "copies"
        subprocess.run(
            [program, "results", "1", "--path-prefix", "photographs/", "--annotate", copies],
            env=variables,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        show(copies / "photographs" / "friends.jpg")

    summary = demo.stderr.strip().splitlines()[-1]
    console = Console(record=True, width=110, file=io.StringIO())
    console.print("$ make demo", style="bold")
    console.print(Text.from_ansi(demo.stdout.rstrip()))
    console.print(Text.from_ansi(summary))

    svg = console.export_svg(title="Cuemill")
    # Without the web font, which would be fetched from another host; readers have a monospaced one.
    (ROOT / "docs" / "demo.svg").write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))


def show(copy: Path) -> None:
    """Keeps the middle of an annotated picture, small enough for a page."""
    with Image.open(copy) as picture:
        small = picture.resize((900, 675), Image.Resampling.LANCZOS).crop((0, 90, 900, 560))
    small.save(ROOT / "docs" / "annotated.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
