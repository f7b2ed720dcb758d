"""Draws docs/demo.svg, what `make demo` prints: `python docs/demo.py`, whenever the model or the output changes."""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
COMMAND = ["cuemill", "classify", "samples/"]


def main() -> None:
    with tempfile.TemporaryDirectory() as data:
        variables = os.environ | {"CUEMILL_DATA_DIR": data, "FORCE_COLOR": "1", "COLUMNS": "110"}
        program = str(Path(sys.executable).parent / COMMAND[0])
        done = subprocess.run(
            [program, *COMMAND[1:]],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
    summary = done.stderr.strip().splitlines()[-1]
    console = Console(record=True, width=110, file=io.StringIO())
    console.print("$ make demo", style="bold")
    console.print(Text.from_ansi(done.stdout.rstrip()))
    console.print(Text.from_ansi(summary))
    drawn = console.export_svg(title="Cuemill")
    # The font would be fetched from elsewhere; whoever looks at the picture has a monospaced one.
    (ROOT / "docs" / "demo.svg").write_text(
        re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    )


if __name__ == "__main__":
    main()
