"""docker-compose.yml and the Dockerfile, without a container engine.

Each service's own command, environment and healthcheck run as processes; only addresses and paths
are replaced. What needs the engine, such as building the images, is only read.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import redis
import yaml

from tests.integration.deployment import CUEMILL, make_faces, stop
from tests.services import Postgres, free_port, patience, wait_until

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BUILT = [name for name, service in SERVICES.items() if "build" in service]
READERS = ["api", "worker", "trainer"]


def change(value: Any, by: Callable[[str], str]) -> Any:
    """Returns the same structure with every string changed."""
    if isinstance(value, dict):
        return {key: change(inner, by) for key, inner in value.items()}
    if isinstance(value, list):
        return [change(inner, by) for inner in value]
    return by(value) if isinstance(value, str) else value


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Replaces `${NAME:-default}` and `${NAME:?message}`, the only forms that the file uses."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if variables.get(name):
            return variables[name]
        if operator == ":-":
            return rest
        raise LookupError(f"{name}: {rest}")

    # A doubled dollar is one for the shell.
    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, text).replace("$$", "$")


def read_dockerfile() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, beginning with FROM."""
    lines = [
        line
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line and not line.startswith("#")
    ]

    stages: dict[str, list[tuple[str, str]]] = {}
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        instruction, rest = line.split(maxsplit=1)
        if instruction == "FROM":
            rest, name = rest.split(" AS ")
            stages[name] = []
        if stages:  # An ARG may stand before the first stage.
            stages[name].append((instruction, rest))
    return stages


STAGES = read_dockerfile()


def instructions(target: str, name: str) -> list[str]:
    """The arguments of an instruction in a target, those of its base stages first."""
    if target not in STAGES:
        return []
    _, base = STAGES[target][0]
    return instructions(base, name) + [
        rest for instruction, rest in STAGES[target] if instruction == name
    ]


def program(service: dict[str, Any]) -> list[str]:
    """The command line of a service: its image's entry point, and its own command if it has one."""
    if "build" not in service:
        return list(service["command"])
    target = service["build"]["target"]
    entry, command = (json.loads(instructions(target, name)[-1]) for name in ("ENTRYPOINT", "CMD"))
    return [*entry, *service.get("command", command)]


class Stack:
    """The services as processes, each in its own folder and with the environment of the file alone.

    Args:
        variables: what a user has in `.env`.
        replaced: addresses and paths of the containers, and what stands for them here.
        extra: arguments by service, for what its command leaves to the container.
    """

    def __init__(
        self,
        folder: Path,
        variables: dict[str, str],
        replaced: dict[str, str],
        extra: dict[str, list[str]],
    ) -> None:
        self._folder = folder
        self._variables = variables
        self._replaced = replaced
        self._extra = extra
        self._services: dict[str, dict[str, Any]] = change(
            SERVICES, lambda t: interpolate(self.here(t), variables)
        )
        self._stack = ExitStack()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """A text of the file, with this machine's addresses and paths."""
        return re.sub(
            "|".join(map(re.escape, self._replaced)), lambda match: self._replaced[match[0]], text
        )

    def up(self) -> None:
        """Starts what `docker compose up` starts, each service once its dependencies allow it."""
        needs = {
            name: s.get("depends_on", {})
            for name, s in self._services.items()
            if "profiles" not in s
        }

        for name in TopologicalSorter(needs).static_order():
            for needed, gate in needs[name].items():
                self._wait_for(needed, gate["condition"])
            if (
                name != "postgres"
            ):  # The private server runs; of the file's service only the healthcheck does.
                self._start(name)
        for name in needs:
            if "healthcheck" in self._services[name]:
                self._wait_for(name, "service_healthy")

    def _wait_for(self, name: str, condition: str) -> None:
        if condition == "service_completed_successfully":
            assert self.processes[name].wait(patience(60)) == 0
        else:
            assert condition == "service_healthy"
            wait_until(lambda: self.is_healthy(name), f"{name} to be healthy")

    def _start(self, name: str) -> None:
        folder = self._folder / name
        folder.mkdir()
        command = [*program(self._services[name]), *self._extra.get(name, [])]
        process = subprocess.Popen(
            command, env=self._environment(name), cwd=folder, start_new_session=True
        )
        self._stack.callback(stop, process)
        self.processes[name] = process

    def is_healthy(self, name: str) -> bool:
        """Runs a service's healthcheck once."""
        check = self._services[name]["healthcheck"]
        kind, *command = check["test"]
        assert kind == "CMD"

        try:
            timeout_s = int(check["timeout"].removesuffix("s"))
            done = subprocess.run(
                command,
                env=self._environment(name),
                timeout=timeout_s,
                capture_output=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False

        return done.returncode == 0

    def _environment(self, name: str) -> dict[str, str]:
        service = self._services[name]
        of_image = instructions(service["build"]["target"], "ENV") if "build" in service else []
        pairs = dict(self.here(pair).split("=", 1) for line in of_image for pair in line.split())
        for key, value in service.get("environment", {}).items():
            pairs[key] = self._variables.get(key, "") if value is None else value
        pairs["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {key: value for key, value in pairs.items() if value}

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return make_faces(tmp_path / "photos" / "study", 40).parent


@pytest.fixture
def stack(
    tmp_path: Path, images: Path, tiny_model: Path, postgres_server: Postgres
) -> Iterator[Stack]:
    redis_port = str(free_port())
    secrets = {
        "postgres_password": "any",
        "redis_password": "f00d",
        "cuemill_database_url": postgres_server.create_database(),
        "cuemill_broker_url": f"redis://:f00d@127.0.0.1:{redis_port}/0",
    }
    (tmp_path / "secrets").mkdir()
    for name, value in secrets.items():
        (tmp_path / "secrets" / name).write_text(value)

    services = Stack(
        tmp_path,
        {
            "IMAGES": str(images),
            "CUEMILL_MODEL": str(tiny_model),
            "CUEMILL_WORKERS": "2",
        },
        {
            "--port=5432": f"--port={postgres_server.port}",
            "redis://127.0.0.1:6379": f"redis://127.0.0.1:{redis_port}",
            "0.0.0.0": "127.0.0.1",
            "8000": str(free_port()),
            "/run/secrets": str(tmp_path / "secrets"),
            "/images": str(images),
            "/data": str(tmp_path / "data"),
            "/spool": str(tmp_path / "spool"),
        },
        {"redis": ["--port", redis_port, "--bind", "127.0.0.1"]},
    )
    try:
        yield services
    finally:
        services.close()


def test_services_start_in_order_and_classify_a_folder_that_is_sent_over_http(stack: Stack) -> None:
    assert not stack.is_healthy("api")
    stack.up()

    url = Path(stack.here("/run/secrets/cuemill_broker_url")).read_text()
    with redis.Redis.from_url(url, decode_responses=True) as queue:
        settings = queue.config_get("appendonly", "appendfsync", "save", "maxmemory-policy")
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }

    with httpx.Client(base_url=stack.here("http://127.0.0.1:8000"), timeout=patience(30)) as client:
        submitted = client.post("/v1/jobs", json={"folder": stack.here("/images/study")})
        assert submitted.status_code == 202
        location = submitted.headers["Location"]
        wait_until(
            lambda: client.get(location).json()["status"] == "completed", "the job to complete"
        )
        counts = client.get(location).json()["counts"]
    assert (counts["total"], counts["classified"]) == (40, 40)

    for name in ("worker", "api"):
        grace_s = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        stack.processes[name].terminate()
        assert stack.processes[name].wait(grace_s) in (0, 128 + signal.SIGTERM)
    assert not stack.is_healthy("worker")

    stop(stack.processes["redis"])
    assert not stack.is_healthy("redis")
    assert not stack.is_healthy("api")


def test_a_variable_that_the_user_must_set_is_named() -> None:
    with pytest.raises(
        LookupError, match=r"IMAGES: set it in \.env to the folder that holds your images"
    ):
        change(SERVICES["worker"], lambda text: interpolate(text, {}))


def test_programs_wait_for_the_migration_and_every_service_for_those_it_needs() -> None:
    gates = {
        (name, needed): gate["condition"]
        for name, service in SERVICES.items()
        for needed, gate in service.get("depends_on", {}).items()
    }
    assert gates == {
        ("migrate", "postgres"): "service_healthy",
        **{(name, "migrate"): "service_completed_successfully" for name in (*READERS, "webhooks")},
        **{(name, "redis"): "service_healthy" for name in READERS},
    }
    assert {name for name in SERVICES if "healthcheck" not in SERVICES[name]} == {"migrate"}
    assert SERVICES["migrate"]["restart"] == "no"


@pytest.mark.parametrize("name", READERS)
def test_images_are_mounted_read_only_where_the_api_may_read(name: str) -> None:
    (mount,) = [volume for volume in SERVICES[name]["volumes"] if isinstance(volume, dict)]
    assert mount["read_only"] is True
    assert mount["target"] == SERVICES["api"]["environment"]["CUEMILL_IMAGE_ROOTS"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_has_privileges_a_writable_system_or_a_port_for_other_hosts(name: str) -> None:
    service = SERVICES[name]
    assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()

    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "ports" not in service or name == "api"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_limits_and_none_may_fill_the_disk_with_logs(name: str) -> None:
    service = SERVICES[name]
    assert service["pids_limit"]
    assert service["mem_limit"]
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


def test_the_database_and_redis_reach_nothing_outside_and_have_their_passwords_from_files() -> None:
    assert COMPOSE["networks"]["inside"]["internal"] is True
    outside = {name for name, service in SERVICES.items() if "outside" in service["networks"]}
    assert outside == {"api", "trainer", "webhooks"}

    for name, service in SERVICES.items():
        assert set(service["secrets"]) <= COMPOSE["secrets"].keys()
        assert not [key for key in service.get("environment", {}) if key.endswith("PASSWORD")], name
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_file_is_one_that_compose_accepts() -> None:
    """Its parts that have a closed set of names, from the Compose specification."""
    service_keys = {
        "build", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck",
        "image", "init", "logging", "mem_limit", "networks", "pids_limit", "ports", "profiles",
        "read_only", "restart", "secrets", "security_opt", "shm_size", "stop_grace_period", "tmpfs",
        "user", "volumes",
    }  # fmt: skip
    assert {key for service in SERVICES.values() for key in service} <= service_keys
    assert {key for key in COMPOSE if not key.startswith("x-")} == {
        "name", "services", "volumes", "networks", "secrets",
    }  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_runs_as_root(name: str) -> None:
    service = SERVICES[name]
    user = (
        instructions(service["build"]["target"], "USER")[-1]
        if "build" in service
        else service["user"]
    )
    assert user.split(":")[0] not in ("", "0", "root")


@pytest.mark.parametrize("name", SERVICES)
def test_the_volumes_a_service_names_exist(name: str) -> None:
    volumes = [volume for volume in SERVICES[name].get("volumes", []) if isinstance(volume, str)]
    assert {volume.split(":")[0] for volume in volumes} <= COMPOSE["volumes"].keys()


def test_the_api_and_the_workers_share_a_spool_that_they_can_write() -> None:
    spool = COMPOSE["x-cuemill"]["environment"]["CUEMILL_SPOOL"]
    for name in ("api", "worker"):
        assert f"spool:{spool}" in SERVICES[name]["volumes"]
    assert f"--mode 700 {spool}" in (ROOT / "Dockerfile").read_text()


def test_webhooks_are_sent_by_the_one_service_that_has_no_images_and_reaches_receivers() -> None:
    sender, worker = SERVICES["webhooks"], SERVICES["worker"]
    assert worker["environment"]["CUEMILL_WEBHOOK_SENDER"] == "false"
    assert program(sender) == ["cuemill", "worker", "--queue", "webhooks"]
    assert "volumes" not in sender


@pytest.mark.parametrize("name", BUILT)
def test_an_image_runs_a_command_of_cuemill(name: str) -> None:
    entry, *arguments = program(SERVICES[name])
    assert entry == "cuemill"
    shown = subprocess.run(
        [*CUEMILL, *arguments, "--help"], capture_output=True, text=True, check=False
    )
    assert (shown.returncode, "Usage: cuemill" in shown.stdout) == (0, True), shown.stderr


def test_the_images_are_built_from_files_and_stages_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = {pattern.removesuffix("*") for pattern in patterns} - {"cuemill_client"} | {"client"}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    admitted = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert admitted == packages | {"LICENSE", "README.md", "pyproject.toml", "requirements"}
    assert all((ROOT / name).exists() for name in admitted)

    assert {SERVICES[name]["build"]["target"] for name in BUILT} <= STAGES.keys()
    for stage in STAGES:
        for source in instructions(stage, "COPY"):
            origin = source.removeprefix("--from=").split()[0]
            assert origin in STAGES if source.startswith("--from=") else origin == "."
    locks = re.findall(r"/source/(requirements/\w+\.txt)", (ROOT / "Dockerfile").read_text())
    assert locks == ["requirements/serving.txt", "requirements/trainer.txt"]
    assert all((ROOT / lock).exists() for lock in locks)
