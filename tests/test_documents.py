"""What the documents say exists: commands, settings, make targets, routes, links and paths."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from api.context import Context
from api.server import make_api
from cli.main import app
from docs import configuration, errors
from models.settings import Settings
from models.store.database import Database

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "worker", "trainer", "api", "cli", "client", "migrations")
FOLDERS = (*PACKAGES, "tests", "benchmarks", "samples", "docs", "requirements")

WITH_PAGES = ("docs", "models", "client", "samples", ".github")
PAGES = sorted(
    path
    for pattern in ("*.md", *(f"{folder}/**/*.md" for folder in WITH_PAGES))
    for path in ROOT.glob(pattern)
)
DOCUMENTS = [*PAGES, ROOT / "docker-compose.yml"]
MODULES = sorted(
    path
    for folder in (*PACKAGES, "benchmarks", "tests", "samples", "docs")
    for path in (ROOT / folder).rglob("*.py")
)

EXAMPLES = ("fer2013/", "emotic/", "Annotations/", "report/", "figures/", "more/")
"""How paths begin that a document's reader has, or will have, rather than Cuemill."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def shown_commands() -> list[str]:
    commands = set()
    for document in DOCUMENTS:
        for line in document.read_text().replace("\\\n", " ").splitlines():
            command = line.removeprefix("#").strip().removeprefix(".venv/bin/")
            if re.match(r"cuemill [a-z]+ ", f"{command} ") and "`" not in command:
                commands.add(command)
    return sorted(commands)


def test_the_documents_show_commands() -> None:
    assert len(shown_commands()) >= 10


@pytest.mark.parametrize("shown", shown_commands())
def test_a_command_that_a_document_shows_parses(shown: str) -> None:
    _, *arguments = shlex.split(shown, comments=True)
    command = typer.main.get_command(app)
    while isinstance(command, TyperGroup):
        name = arguments.pop(0)
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    command.make_context("cuemill", arguments).close()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_a_command_that_a_document_names_exists(document: Path) -> None:
    for words in re.findall(r"`cuemill ((?:[a-z]+ ?)+)", document.read_text()):
        command: Any = typer.main.get_command(app)
        for name in words.split():
            if not isinstance(command, TyperGroup):
                break
            assert name in command.commands, f"there is no command {words}"
            command = command.commands[name]


def test_the_settings_that_the_documents_name_exist() -> None:
    text = "".join(document.read_text() for document in DOCUMENTS)
    named = set(re.findall(r"CUEMILL_([A-Z_]+[A-Z])\b", text))
    used_by_compose_alone = {"WORKER_REPLICAS", "WORKER_MEMORY", "TRAINER_MEMORY"}
    names_files = {"ENV_FILE", "SECRETS_DIR"}
    of_a_client = {"KEY"}
    others = named - used_by_compose_alone - names_files - of_a_client
    assert others <= {name.upper() for name in Settings.model_fields}


def test_the_page_of_settings_is_what_the_settings_class_gives() -> None:
    assert configuration.TARGET.read_text() == configuration.render(), "run `make docs`"


def test_the_page_of_errors_is_what_the_catalogue_of_codes_gives() -> None:
    assert errors.TARGET.read_text() == errors.render(), "run `make docs`"


def test_the_make_targets_that_the_documents_name_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "".join(document.read_text() for document in DOCUMENTS)
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE))
    assert named
    assert named <= targets


def test_the_modules_that_the_documents_run_exist() -> None:
    text = "".join(document.read_text() for document in DOCUMENTS)
    modules = set(re.findall(r"python\s+-m\s+((?:benchmarks|tests|docs)[\w.]*)", text))
    assert modules
    for module in modules:
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module


def test_the_page_of_the_api_lists_every_route() -> None:
    database = Database("sqlite://")
    context = Context(database, Settings(), announce=lambda: None, ping_queue=lambda: None)
    paths = make_api(context).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    page = (ROOT / "docs" / "http-api.md").read_text()
    assert set(re.findall(r"^\| `([A-Z]+ /\S+)` \|", page, re.MULTILINE)) == routes


def test_help_lists_every_command_with_a_sentence() -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    for name, sub in command.commands.items():
        assert sub.help, f"{name} has no help"


def exists(path: str, beside: Path) -> bool:
    """Whether a path, or a pattern, is there: from the root, or from the document's folder."""
    return any(any(folder.glob(path.rstrip("/"))) for folder in (ROOT, beside))


def named_paths(text: str) -> Iterator[str]:
    """Paths in backticks, and those that begin with one of our folders and name a file.

    A path has a slash, and ends with a slash or a file's ending. `~`, `/`, `<` and the like mark
    paths of a user.
    """
    for path in re.findall(r"`([\w.][\w.*/-]*)`", text):
        if "/" in path and re.search(r"/$|\.[a-z0-9]+$", path) and not path.startswith(EXAMPLES):
            yield path
    ours = "|".join(FOLDERS)
    yield from re.findall(rf"(?<![\w./-])(?:{ours})/[\w./*-]*\.(?:py|md|txt|sh|pkl|png)\b", text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_paths_that_a_document_names_exist(document: Path) -> None:
    paths = set(named_paths(document.read_text()))
    missing = {path for path in paths if not exists(path, document.parent)}
    assert not missing


@pytest.mark.parametrize("document", PAGES, ids=name_of)
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        page = document.parent / file if file else document
        assert page.exists(), target
        if heading:
            assert heading in set(anchors(page)), target


def anchors(page: Path) -> Iterator[str]:
    """The names that a page's headings have in links."""
    for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def comments_and_docstrings(module: Path) -> str:
    source = module.read_text()
    comments = re.findall(r"#.*", source)
    docstrings = [
        node.value.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    return "\n".join([*comments, *docstrings])


def test_the_paths_that_docstrings_and_comments_name_exist() -> None:
    missing = {
        f"{name_of(module)}: {path}"
        for module in MODULES
        for path in named_paths(comments_and_docstrings(module))
        if not exists(path, module.parent)
    }
    assert not missing
