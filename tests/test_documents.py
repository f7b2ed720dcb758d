"""Every command that the documents show is one that parses, and every setting they name is one that exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from cli.main import app
from models.settings import Settings

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "EXPERIMENTS.md", "docker-compose.yml")),
    *sorted(
        path for folder in ("docs", "models/trained") for path in (ROOT / folder).rglob("*.md")
    ),
]


def shown_commands() -> list[str]:
    found = []
    for document in DOCUMENTS:
        for line in document.read_text().replace("\\\n", " ").splitlines():
            command = line.removeprefix("#").strip().removeprefix(".venv/bin/")
            if re.match(r"cuemill [a-z]+ ", f"{command} ") and "`" not in command:
                found.append(command)
    return sorted(set(found))


def test_the_documents_show_commands() -> None:
    assert len(shown_commands()) >= 10


@pytest.mark.parametrize("shown", shown_commands())
def test_a_command_that_a_document_shows_parses(shown: str) -> None:
    _, *arguments = shlex.split(shown, comments=True)
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name = arguments.pop(0)
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    command.make_context("cuemill", arguments).close()


def test_the_settings_that_the_documents_name_exist() -> None:
    named = set(
        re.findall(
            r"CUEMILL_([A-Z_]+[A-Z])\b", "".join(document.read_text() for document in DOCUMENTS)
        )
    )
    used_by_compose_alone = {"WORKER_REPLICAS"}
    assert named - used_by_compose_alone <= {name.upper() for name in Settings.model_fields}


def test_help_lists_every_command_with_a_sentence() -> None:
    command = typer.main.get_command(app)
    for name, sub in command.commands.items():  # type: ignore[attr-defined]
        assert sub.help, f"{name} has no help"
