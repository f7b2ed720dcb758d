"""What runs networks, behind a protocol with one method."""

import sys

# Importing OpenVINO's package reports to an analytics host, and writes an id below HOME, unless its
# module for that cannot be imported.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
