"""What OpenVINO leaves behind in a process."""

import subprocess
import sys

PROGRAM = """
import gc, os, signal
from PIL import Image
from models.release.detectors import SHIPPED, shipped_digest
from worker.engines.faces.load import load_detector

detector = load_detector(SHIPPED, shipped_digest())
detector.detect(Image.new("RGB", (640, 480)), 0.7)
del detector
gc.collect()

signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_is_handled_after_the_last_network_is_gone() -> None:
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert (program.returncode, program.stdout) == (0, "handled\n"), program.stderr
