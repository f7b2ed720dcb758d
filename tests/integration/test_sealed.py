"""Nothing leaves the machine, and nothing is written outside the data folder."""

from pathlib import Path

from tests.integration.deployment import Deployment, make_faces


def test_commands_connect_nowhere_and_write_in_the_data_folder_alone(
    sealed: Deployment, tmp_path: Path
) -> None:
    """The commands of the trainer are in test_training.py."""
    folder = make_faces(tmp_path / "faces", 4)
    sealed.environment["CUEMILL_MODEL"] = ""  # The shipped model.
    sealed.run("classify", folder, "--workers", "1")
    sealed.run("enqueue", folder)
    for arguments in ("results 1", "retry 2", "delete 2 --yes", "models list", "status"):
        sealed.run(*arguments.split())
    sealed.serve(folder)
