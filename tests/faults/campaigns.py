"""The rows of the fault table: whatever dies, nothing is lost or doubled, and no count is wrong.

A campaign keeps work flowing, strikes `dose` times and waits for recovery after each strike. It
returns the verdict of the oracle, and checks what Cuemill promises for this fault besides.
"""

import json
import os
import resource
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from models.errors import DatabaseError
from models.queue import CLASSIFY, SCAN, make_app, make_sender
from models.release.files import save_release
from models.settings import Settings
from models.store import batches, jobs, releases, retries, webhooks
from models.store.batches import Claim
from models.store.database import MIGRATIONS
from models.store.jobs import JobView, Submission
from models.store.states import Event
from models.store.tables import REVISION
from tests.builders import tiny_release
from tests.faults.ground import (
    BATCH,
    IMAGES,
    LEASE_S,
    PATIENCE_S,
    REHINT_S,
    SWEEP_S,
    Flow,
    Ground,
)
from tests.faults.oracle import Verdict
from tests.faults.proxy import Proxy, run_proxy
from tests.integration.deployment import Usage, make_faces, processes_of, usage, worker_processes
from tests.receiver import Answer, Receiver, run_receiver
from tests.services import patience, run_redis, wait_until
from worker.scan import scan


@dataclass(frozen=True)
class Record:
    """The result of a campaign: the verdict, the seconds until each recovery, and a remark."""

    verdict: Verdict
    recovery_s: list[float] = field(default_factory=list)
    remark: str = ""


@dataclass(frozen=True)
class Campaign:
    """
    Args:
        run: strikes this many times.
        dose: how many strikes `make faults` makes.
        small: how many strikes `make test` makes; 0 = it leaves the campaign out, as it has another
            of this fault.
        limit_s: the longest recovery that is allowed.
    """

    fault: str
    run: Callable[[Ground, int], Record]
    dose: int
    small: int
    limit_s: float | None = None

    def is_in_time(self, record: Record) -> bool:
        """Whether no recovery took longer than is allowed."""
        return self.limit_s is None or max(record.recovery_s, default=0.0) <= self.limit_s


def kill_groups(kind: str) -> Callable[[Ground, int], Record]:
    def run(ground: Ground, dose: int) -> Record:
        with ground.flow(kind) as flow:
            programs = [flow.deployment.start("worker"), flow.deployment.start("worker")]
            held = []

            def strike(number: int) -> float:
                victim = programs[number % 2]
                processes = flow.hold(victim)
                os.killpg(victim.pid, signal.SIGKILL)
                victim.wait()
                held.append(flow.claims(processes))
                programs[number % 2] = flow.deployment.start("worker")
                return flow.reclaimed(held[-1])

            recovery = ground.repeat(dose, strike)
            return Record(
                flow.verdict(), recovery, f"{sum(map(bool, held))} hit a batch in progress"
            )

    return run


def kill_workers(kind: str) -> Callable[[Ground, int], Record]:
    """Kills one process of a program, which the program must replace."""

    def run(ground: Ground, dose: int) -> Record:
        with ground.flow(kind, workers=2) as flow:
            program = flow.deployment.start("worker")
            flow.hold(program)

            def strike(number: int) -> float:
                before = set(worker_processes(program.pid))
                victim = min(before)
                flow.until(lambda: flow.claims({victim}), "the victim to work on a batch")
                os.kill(victim, signal.SIGKILL)
                started = time.monotonic()
                lost = flow.claims({victim})
                flow.until(
                    lambda: flow.claims(set(worker_processes(program.pid)) - before),
                    "the replacement to work",
                )
                replaced_s = time.monotonic() - started
                flow.reclaimed(lost)
                return replaced_s

            recovery = ground.repeat(dose, strike)
            return Record(flow.verdict(), recovery, "the time is until the replacement works")

    return run


def kill_redis(ground: Ground, dose: int) -> Record:
    with (
        run_redis(persistent=False) as redis,
        ground.flow("scaled", workers=2, broker_port=redis.port) as flow,
    ):
        flow.serve()
        flow.deployment.start("worker")

        def strike(number: int) -> float:
            flow.progress(2)
            redis.kill()
            flow.submit()
            flow.submit()
            redis.start()
            return flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery, f"{len(flow.acknowledged)} submits answered 202")


def fail_consumer(ground: Ground, dose: int) -> Record:
    """Celery ends when it loses the broker with an error that it does not know."""
    with (
        run_redis(persistent=False) as redis,
        ground.flow("scaled", workers=2, broker_port=redis.port) as flow,
    ):
        program = flow.deployment.start("worker")

        def strike(number: int) -> float:
            flow.progress(2)
            armed = flow.faults / "consumer"
            armed.touch()
            redis.kill()
            redis.start()
            seconds = flow.progress(10)
            armed.unlink(missing_ok=True)  # kombu itself may have raised such an error.
            return seconds

        recovery = ground.repeat(dose, strike)
        assert program.poll() is None
        return Record(flow.verdict(), recovery)


def lose_acknowledgements(ground: Ground, dose: int) -> Record:
    """Messages that are never acknowledged count as in progress, and Celery takes no more."""
    with ground.flow("scaled", workers=2) as flow:
        program = flow.deployment.start("worker")

        def strike(number: int) -> float:
            flow.progress(2)
            known, armed = len(flow.notes("unacknowledged")), flow.faults / "no-acknowledgements"
            armed.touch()
            flow.until(
                lambda: len(flow.notes("unacknowledged")) >= known + 2,
                "two unacknowledged messages",
            )
            armed.unlink()
            return flow.progress(10)

        recovery = ground.repeat(dose, strike)
        assert program.poll() is None
        return Record(flow.verdict(), recovery)


def flush_redis(ground: Ground, dose: int) -> Record:
    with ground.flow("scaled", workers=2) as flow:
        flow.serve()
        flow.deployment.start("worker")

        def strike(number: int) -> float:
            flow.progress(2)
            ground.redis.flush()
            flow.submit()
            return flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery, f"{len(flow.acknowledged)} submits answered 202")


def disturb_broker(disturb: Callable[[Proxy], None]) -> Callable[[Ground, int], Record]:
    """Disturbs the connections to Redis, which go through a proxy."""

    def run(ground: Ground, dose: int) -> Record:
        with (
            run_proxy(ground.redis.port) as proxy,
            ground.flow("scaled", workers=2, broker_port=proxy.port) as flow,
        ):
            flow.serve()
            flow.deployment.start("worker")

            def strike(number: int) -> float:
                flow.progress(1 + number % 5)
                disturb(proxy)
                flow.submit()
                proxy.restore()
                return flow.progress(10)

            recovery = ground.repeat(dose, strike)
            return Record(flow.verdict(), recovery)

    return run


def restart_postgres(ground: Ground, dose: int) -> Record:
    with ground.flow("scaled", workers=2) as flow:
        client = flow.serve()
        flow.deployment.start("worker")
        refusals = []

        def strike(number: int) -> float:
            flow.progress(2)
            ground.postgres.stop(immediately=True)
            for _ in range(3):
                started = time.monotonic()
                answer = client.get("/v1/jobs")
                refusals.append(time.monotonic() - started)
                assert (answer.status_code, answer.json()["code"]) == (503, "database")
            ground.postgres.start()
            return flow.until(
                lambda: client.get("/v1/jobs").is_success, "the API to recover"
            ) + flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery, f"503 within {max(refusals):.2f} s")


_DAWDLE = """
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM pg_sleep(0.1); RETURN new; END $$;
    CREATE CONSTRAINT TRIGGER dawdle AFTER UPDATE ON batches
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (old.state <> new.state) EXECUTE FUNCTION dawdle()
"""
_TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname <> 'postgres' AND "
)


def kill_backends(ground: Ground, dose: int) -> Record:
    """Cuts off a COMMIT before it takes effect, or after it, which its client cannot know.

    After means: while it waits for a replica.
    """
    with ground.flow("scaled", workers=2) as flow:
        flow.deployment.start("worker")
        with flow.database.write() as connection:
            connection.exec_driver_sql(_DAWDLE)

        def strike(number: int) -> float:
            flow.progress()
            after = number % 2 == 1
            condition = (
                "wait_event = 'SyncRep'" if after else "query = 'COMMIT' AND state = 'active'"
            )
            with _replica_awaited(ground) if after else nullcontext():
                wait_until(
                    lambda: ground.postgres.execute(_TERMINATE + condition), "a backend in COMMIT"
                )
            return flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(
            flow.verdict(), recovery, f"{dose // 2} took effect without their client knowing"
        )


@contextmanager
def _replica_awaited(ground: Ground) -> Iterator[None]:
    """Makes each COMMIT wait, after it is on the disk, for a replica that does not exist."""
    ground.postgres.execute("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
    ground.postgres.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        ground.postgres.execute("ALTER SYSTEM RESET synchronous_standby_names")
        ground.postgres.execute("SELECT pg_reload_conf()")


def fill_disk(ground: Ground, dose: int) -> Record:
    with ground.flow("embedded", workers=2) as flow:
        client = flow.client = flow.deployment.up(ground.faces.folder)
        program = flow.deployment.programs[-1]

        def strike(number: int) -> float:
            flow.progress(5)
            _limit_files(program.pid, 0)
            with pytest.raises(DatabaseError):
                flow.submit()
            for job in flow.acknowledged:
                assert client.get(f"/v1/jobs/{job}").is_success
                assert client.get(f"/v1/jobs/{job}/results").is_success
            _limit_files(program.pid, resource.RLIM_INFINITY)
            return flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery)


def _limit_files(group: int, size: int) -> None:
    """Makes every process of a program fail to write beyond this size, as on a full disk."""
    for pid in processes_of(group):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def stop_workers(ground: Ground, dose: int) -> Record:
    with ground.flow("scaled", workers=3) as flow:
        program = flow.deployment.start("worker")
        flow.hold(program)

        def strike(number: int) -> float:
            victim = worker_processes(program.pid)[number % 3]
            flow.until(lambda: flow.claims({victim}), "the victim to work on a batch")
            os.kill(victim, signal.SIGSTOP)
            held = flow.claims({victim})
            seconds = flow.reclaimed(held)
            os.kill(victim, signal.SIGCONT)
            flow.until(lambda: flow.claims({victim}) - held, "the victim to continue")
            return seconds

        recovery = ground.repeat(dose, strike)
        verdict, fenced = flow.verdict(), flow.notes("fenced")
        assert fenced
        return Record(verdict, recovery, f"{fenced.count('completion')} completions fenced off")


def repeat_hints(ground: Ground, dose: int) -> Record:
    """Sends hints for batches in any state, for some that do not exist, and for ended scans."""
    with ground.flow("scaled", workers=2) as flow, make_app(ground.redis.url) as app:
        flow.deployment.start("worker")
        send = make_sender(app)
        flow.progress(2)

        def strike(number: int) -> float:
            last_id = flow.ask("SELECT max(id) FROM batches")[0][0]
            assert (
                send(SCAN, 1)
                if number % 20 == 0
                else send(CLASSIFY, max(last_id + 5 - number % 60, 1))
            )
            return flow.progress(2) if number % 100 == 99 else 0.0

        ground.repeat(dose, strike)
        return Record(flow.verdict())


def poison_images(ground: Ground, dose: int) -> Record:
    poison = "face-00017-poison.jpg"
    with ground.flow("embedded", workers=2) as flow, tempfile.TemporaryDirectory() as scratch:
        release = releases.resolve(flow.database, None, ground.model)
        folders = [make_faces(Path(scratch) / str(number), 31) for number in range(dose)]
        poisoned = []
        for folder in folders:
            (folder / poison).write_bytes((folder / "face-00017.jpg").read_bytes())
            poisoned.append(
                jobs.submit(
                    flow.database, Submission(str(folder), release, batch_size=32, fresh=True)
                )[0].id
            )
            flow.acknowledged[poisoned[-1]] = 32
        flow.deployment.start("worker")

        def strike(number: int) -> float:
            return flow.until(
                lambda: jobs.get(flow.database, poisoned[number]).status.ended,
                "the poison to be found",
            )

        ground.repeat(dose, strike)
        verdict = flow.verdict({**ground.faces.truth, poison: ("failed", ())})
        deaths = Counter(flow.notes("deaths"))
        assert sorted(deaths) == sorted(map(str, folders))
        assert max(deaths.values()) <= 18
        return Record(verdict, remark=f"at most {max(deaths.values())} workers died of one")


def fail_receivers(ground: Ground, dose: int) -> Record:
    """A webhook's receiver is down, fails or does not answer, or its sender is killed meanwhile."""
    receiver = Receiver()
    with ground.flow("embedded", workers=2) as flow, ExitStack() as server:
        server.enter_context(run_receiver(earlier=receiver))
        webhooks.create(flow.database, receiver.url, list(Event))
        start = partial(flow.deployment.start, "worker", CUEMILL_WEBHOOK_PRIVATE="true")
        program = start()
        flow.until(lambda: receiver.requests, "the receiver to be told")

        def untold(more: str = "") -> set[int]:
            sql = f"SELECT id FROM deliveries WHERE state <> 'delivered' {more}"
            return {delivery for (delivery,) in flow.ask(sql)}

        def strike(number: int) -> float:
            nonlocal program
            fault = ("killed", "down", "failing", "silent")[number % 4]
            asked, over = threading.Event(), threading.Event()

            def answer(_: object) -> Answer:
                asked.set()
                if fault == "failing" and not over.is_set():
                    return 500, {}
                over.wait()
                return 204, {}

            receiver.answer = answer
            if fault == "down":
                server.close()
            if fault == "killed":
                flow.until(asked.is_set, "the receiver to be asked")
                os.killpg(program.pid, signal.SIGKILL)
                program.wait()
                program = start()
            else:
                flow.until(lambda: untold("AND tries > 0"), "a try to fail")

            over.set()
            if fault == "down":
                server.enter_context(run_receiver(earlier=receiver))
            waiting = untold()
            return flow.until(lambda: not waiting & untold(), "the receiver to be told")

        recovery = ground.repeat(dose, strike)
        verdict = flow.verdict()
        wait_until(lambda: not untold(), "the receiver to be told of every job", PATIENCE_S)

        told = [
            (headers["webhook-id"], json.loads(body)["data"]["id"])
            for headers, body in receiver.requests
            if headers["answered"] == "204"
        ]
        jobs_told = [job for _, job in set(told)]
        assert sorted(jobs_told) == sorted(flow.acknowledged)
        remark = f"{len(jobs_told)} jobs, of which the receiver was told {len(told)} times"
        return Record(verdict, recovery, remark)


def fail_drive(kind: str) -> Callable[[Ground, int], Record]:
    """Every read of an image fails for a moment."""

    def run(ground: Ground, dose: int) -> Record:
        with ground.flow(kind, workers=2) as flow:
            flow.deployment.start("worker")

            def strike(number: int) -> float:
                flow.progress(2)
                with flow.armed("eio"):
                    flow.until(flow.has_returned(), "a batch to go back")
                return flow.progress(10)

            recovery = ground.repeat(dose, strike)
            return Record(flow.verdict(), recovery)

    return run


def exhaust_files(ground: Ground, dose: int) -> Record:
    """Workers cannot open any more files."""
    with ground.flow("embedded", workers=2) as flow:
        program = flow.deployment.start("worker")

        def strike(number: int) -> float:
            flow.progress(2)
            workers = worker_processes(program.pid)
            before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in workers}
            for pid, (_, hard) in before.items():
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
            flow.until(flow.has_returned(), "a batch to go back")
            for pid, limits in before.items():
                resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
            return flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery)


def lose_folder(ground: Ground, dose: int) -> Record:
    """The folder is gone for a moment; every second time another one, empty, has its path."""
    folder = ground.faces.folder
    away = folder.with_name("away")

    with ground.flow("embedded", workers=2) as flow:
        flow.deployment.start("worker")

        def waits(condition: str) -> bool:
            live = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')"
            return bool(flow.ask(f"{live} AND {condition}")[0][0])

        def strike(number: int) -> float:
            flow.progress(2)
            # A new job of the empty folder would fail, and rightly.
            wait_until(lambda: not waits("scanned_at IS NULL"), "every folder to be listed")
            folder.rename(away)
            if number % 2:
                folder.mkdir()
            try:
                wait_until(lambda: waits("trouble IS NOT NULL"), "a job to wait")
            finally:
                if number % 2:
                    folder.rmdir()
                away.rename(folder)
            return flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery)


def hang_file(kind: str) -> Callable[[Ground, int], Record]:
    """A file hangs: other jobs go on, and SIGTERM reaches the program."""
    hanging = "face-00013-hang.jpg"

    def run(ground: Ground, dose: int) -> Record:
        with ground.flow(kind, workers=2) as flow, ground.renamed("face-00013", hanging) as folder:
            programs = [flow.deployment.start("worker")]

            def strike(number: int) -> float:
                with flow.armed("hang"):
                    job = flow.submit_folder(folder)
                    flow.until(flow.has_returned(), "the file to go back")
                    others = flow.progress(5)
                    if number % 2 == 0:
                        # By now it may hang in a worker again.
                        programs[-1].terminate()
                        assert programs[-1].wait(patience(PATIENCE_S)) == 0
                        programs.append(flow.deployment.start("worker"))
                flow.until(lambda: jobs.get(flow.database, job).status.ended, "the job to end")
                return others

            recovery = ground.repeat(dose, strike)
            truth = {**ground.faces.truth, hanging: ground.faces.truth["face-00013.jpg"]}
            return Record(flow.verdict(truth), recovery, "the time is until others went on")

    return run


def hang_folder(kind: str) -> Callable[[Ground, int], Record]:
    """A whole folder hangs, before or after it was listed: other jobs go on."""

    def run(ground: Ground, dose: int) -> Record:
        with ground.flow(kind, workers=2) as flow, ground.copied("faces-hang") as folder:
            flow.deployment.start("worker")

            def strike(number: int) -> float:
                job = 0

                def view() -> JobView:
                    return jobs.get(flow.database, job)

                if number % 2:
                    job = flow.submit_folder(folder)
                    flow.until(lambda: view().scanned_at, "the folder to be listed")
                with flow.armed("hang"):
                    job = job or flow.submit_folder(folder)
                    flow.until(lambda: view().trouble or view().status.ended, "the job to wait")
                    others = flow.progress(5)
                flow.until(lambda: view().status.ended, "the job to end")
                return others

            recovery = ground.repeat(dose, strike)
            return Record(flow.verdict(), recovery, "the time is until others went on")

    return run


def slow_file(ground: Ground, dose: int) -> Record:
    """A file gives its bytes, but later than a lease ends."""
    slow = "face-00013-slow.jpg"
    with ground.flow("embedded", workers=2) as flow, ground.renamed("face-00013", slow) as folder:
        flow.deployment.start("worker")
        goes_back = flow.has_returned()

        def strike(number: int) -> float:
            with flow.armed("slow"):
                job = flow.submit_folder(folder)
                flow.until(lambda: jobs.get(flow.database, job).status.ended, "the job to end")
            return 0.0

        ground.repeat(dose, strike)
        assert not goes_back()
        assert not flow.notes("fenced")
        truth = {**ground.faces.truth, slow: ground.faces.truth["face-00013.jpg"]}
        return Record(flow.verdict(truth))


def die_loading(kind: str) -> Callable[[Ground, int], Record]:
    """Every process dies when it loads the network, as on a host with too little memory."""

    def run(ground: Ground, dose: int) -> Record:
        with ground.flow(kind, workers=2) as flow:
            program = flow.deployment.start("worker")

            def strike(number: int) -> float:
                flow.progress(2)
                with flow.armed("loading"):
                    for pid in worker_processes(program.pid):
                        os.kill(pid, signal.SIGKILL)
                    flow.until(
                        lambda: flow.ask(
                            "SELECT count(*) FROM troubles JOIN workers ON name = program "
                            "WHERE tries > 0"
                        )[0][0],
                        "the program to notice",
                    )
                return flow.progress(10)

            recovery = ground.repeat(dose, strike)
            return Record(flow.verdict(), recovery)

    return run


def roll(kind: str) -> Callable[[Ground, int], Record]:
    """Asks a program to end amid its work, while another one keeps working."""

    def run(ground: Ground, dose: int) -> Record:
        with ground.flow(kind) as flow:
            programs = [flow.deployment.start("worker"), flow.deployment.start("worker")]

            def strike(number: int) -> float:
                leaving = programs[number % 2]
                processes = flow.hold(leaving)
                leaving.terminate()
                seconds = flow.until(lambda: leaving.poll() is not None, "the program to end")
                assert leaving.returncode == 0
                assert not flow.claims(processes)
                programs[number % 2] = flow.deployment.start("worker")
                return seconds

            recovery = ground.repeat(dose, strike)
            return Record(flow.verdict(), recovery, "the time is until its exit")

    return run


_POINTS = (
    "after-claim",
    "before-predict",
    "before-commit",
    "after-commit",
    "before-publish",
    "after-publish",
)


def crash_at_points(ground: Ground, dose: int) -> Record:
    """Kills a process at a point of the code. If it is the program itself, starts it again."""
    with ground.flow("scaled", workers=2) as flow:
        programs = [flow.deployment.start("worker")]

        def strike(number: int) -> float:
            flow.progress()
            armed = flow.faults / _POINTS[number % len(_POINTS)]
            armed.touch()
            flow.until(lambda: not armed.exists(), f"a crash {armed.name}")
            held, goal = flow.claims(), flow.ended() + 5 * BATCH

            def recovered() -> bool:
                if programs[-1].poll() is not None:
                    programs.append(flow.deployment.start("worker"))
                return not held & flow.claims() and flow.ended() >= goal

            return flow.until(recovered, "work to continue")

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery, f"{len(programs) - 1} hit the program itself")


def restore_backup(ground: Ground, dose: int) -> Record:
    """Restores a backup while a worker is amid a batch, whose id another job's batch then has."""
    with (
        ground.flow("scaled") as flow,
        tempfile.TemporaryDirectory() as scratch,
    ):
        others = make_faces(Path(scratch) / "others", IMAGES)
        for face in others.iterdir():
            face.rename(face.with_name(f"other-{face.name}"))
        name = flow.database.url.database
        flow.database.close()
        ground.postgres.execute(f"CREATE DATABASE {name}_backup TEMPLATE {name}")
        program = flow.deployment.start("worker")
        coincided = 0

        def strike(number: int) -> float:
            nonlocal coincided
            flow.hold(program)
            (victim,) = worker_processes(program.pid)
            os.kill(victim, signal.SIGSTOP)
            held = flow.claims({victim})

            flow.database.close()
            ground.postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
            ground.postgres.execute(f"CREATE DATABASE {name} TEMPLATE {name}_backup")
            flow.acknowledged.clear()
            claims = [_claim_instead(flow, others, batch) for batch, _ in held]
            coincided += len(claims)

            os.kill(victim, signal.SIGCONT)
            flow.until(lambda: flow.claims({victim}), "the worker to go on")
            for claim in claims:
                assert batches.renew(flow.database, claim, LEASE_S)
            return flow.progress(5)

        recovery = ground.repeat(dose, strike)
        truth = {f"other-{path}": record for path, record in ground.faces.truth.items()}
        verdict = flow.verdict({**ground.faces.truth, **truth})
        return Record(verdict, recovery, f"{coincided} batches had the id of a lost one")


def _claim_instead(flow: Flow, folder: Path, batch_id: int) -> Claim:
    """Claims the batch with this id, in a job of this folder."""
    while True:
        job = flow.submit_folder(folder)
        scan(flow.database, Settings(_env_file=None), "campaign", job, lambda: None, lambda: None)
        claim = batches.claim(flow.database, batch_id, "campaign", LEASE_S)
        if claim is not None:
            return claim


def roll_back(ground: Ground, dose: int) -> Record:
    """Moves running jobs to another release, and back again, while workers are amid them."""
    with ground.flow("scaled", workers=2) as flow:
        newer = flow.faults / "newer.pkl"
        save_release(replace(tiny_release(), name="newer"), newer)
        release_ids = (
            releases.register(flow.database, newer),
            releases.register(flow.database, ground.model),
        )
        flow.deployment.start("worker")
        images = 0

        def strike(number: int) -> float:
            nonlocal images
            flow.progress(2)
            # A job that ends meanwhile would be reopened.
            half_done = f"status = 'running' AND classified < {IMAGES // 2}"
            for (job,) in flow.ask(f"SELECT id FROM jobs WHERE {half_done}"):
                for release_id in (release_ids[0], release_ids[1], release_ids[number % 2]):
                    _, count = retries.retry(flow.database, job, (), release_id)
                    images += count
            return flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery, f"{images} images were classified again")


def refuse_rows(ground: Ground, dose: int) -> Record:
    """The database refuses one image of each job."""
    refused = "face-00017.jpg"
    with ground.flow("embedded", workers=2) as flow:
        with flow.database.write() as connection:
            connection.exec_driver_sql(
                f"CREATE TRIGGER refuse BEFORE INSERT ON images WHEN new.path = '{refused}'"
                " AND new.outcome <> 'failed' BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        flow.deployment.start("worker")
        recovery = ground.repeat(dose, lambda _: flow.progress(IMAGES // BATCH))
        return Record(flow.verdict({**ground.faces.truth, refused: ("failed", ())}), recovery)


_NEXT_MIGRATION = """
from alembic import op
import sqlalchemy as sa

revision = "{revision}"
down_revision = "{before}"

def upgrade():
    for table in ("jobs", "batches", "images"):
        op.add_column(table, sa.Column("next_{revision}", sa.Boolean(), server_default=sa.false()))
"""


def upgrade_tables(ground: Ground, dose: int) -> Record:
    """A worker of the next version joins, and upgrades the tables amid the work of the others."""
    with ground.flow("scaled", workers=2) as flow:
        versions = shutil.copytree(MIGRATIONS, flow.faults / "migrations") / "versions"
        revisions = [REVISION]
        programs = [flow.deployment.start("worker")]

        def strike(number: int) -> float:
            flow.hold(programs[-1])
            before, revision = revisions[-1], f"9{number:03}"
            revisions.append(revision)
            migration = _NEXT_MIGRATION.format(revision=revision, before=before)
            (versions / f"{revision}_next.py").write_text(migration)

            outdated = programs[-1]
            programs.append(flow.deployment.start("worker", FAULTS_REVISION=revision))
            seconds = flow.until(lambda: outdated.poll() is not None, "the older program to stop")
            assert outdated.returncode == 1
            return seconds + flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery, "the time includes the start of the newer worker")


def swallow_database(ground: Ground, dose: int) -> Record:
    """Connections to PostgreSQL are acknowledged by a proxy that passes nothing on."""
    with (
        run_proxy(ground.postgres.port) as proxy,
        ground.flow("scaled", workers=2) as flow,
    ):
        environment = flow.deployment.environment
        direct, proxied = f":{ground.postgres.port}/", f":{proxy.port}/"
        url = environment["CUEMILL_DATABASE_URL"].replace(direct, proxied)
        flow.deployment.start("worker", CUEMILL_DATABASE_URL=url)

        def strike(number: int) -> float:
            flow.progress(1 + number % 5)
            proxy.freeze()
            return flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery)


_SHIFT_CLOCK = """
    CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS $$ SELECT pg_catalog.clock_timestamp() + interval '{shift}' $$
"""


def set_clock(ground: Ground, dose: int) -> Record:
    """The database's clock is a month ahead for a while; retention is 30 days."""
    with ground.flow("scaled", workers=2) as flow:

        def shift(by: str) -> None:
            with flow.database.write() as connection:
                connection.exec_driver_sql(_SHIFT_CLOCK.format(shift=by))

        # Made before the programs start: statements that they have prepared would not find it.
        shift("0 days")
        with flow.database.write() as connection:
            # The function is found before PostgreSQL's own of this name.
            name = flow.database.url.database
            path = "search_path = public, pg_catalog"
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET {path}")
        flow.database.close()
        flow.deployment.start("worker", CUEMILL_RETENTION_DAYS="30")

        def strike(number: int) -> float:
            flow.progress(2)
            shift("31 days")
            is_noticed = "SELECT 1 FROM workers WHERE clock_ahead_s < -86400"
            flow.until(lambda: flow.ask(is_noticed), "a heartbeat to report it")
            flow.progress(2)
            shift("0 days")
            return flow.progress(10)

        recovery = ground.repeat(dose, strike)
        return Record(flow.verdict(), recovery)


def soak(ground: Ground, dose: int) -> Record:
    """Runs one long job without faults: neither cost per image nor memory may grow."""
    verdict, usages = _long_job(ground, dose, ground.advance)
    # A short job shows little growth.
    if dose < 100_000:
        return Record(verdict)

    # A second, shorter job on a new database tells growth from a host that changed its speed.
    _, repeated = _long_job(ground, dose // 2, lambda _: None)
    return Record(verdict, remark=_growth(usages, repeated))


def _long_job(
    ground: Ground, dose: int, advance: Callable[[int], object]
) -> tuple[Verdict, list[Usage]]:
    """Runs one job; returns the verdict, and what the workers had used after each tenth."""
    with ground.flow("embedded", workers=2, injected=False) as flow:
        folder, faces = flow.faults.parent / "many", sorted(ground.faces.truth)
        folder.mkdir()
        names = {f"{number:06}.jpg": faces[number % len(faces)] for number in range(dose)}
        for name, face in names.items():
            os.link(ground.faces.folder / face, folder / name)
        program = flow.deployment.start("worker")
        flow.progress()
        wait_until(lambda: flow.live() == 0, "the workers to warm up")
        submission = Submission(
            str(folder),
            releases.resolve(flow.database, None, ground.model),
            batch_size=256,
            fresh=True,
        )
        job = jobs.submit(flow.database, submission)[0].id
        flow.acknowledged[job] = dose

        def reach(images: int) -> Usage:
            wait_until(
                lambda: jobs.get(flow.database, job).counts.classified >= images,
                f"{images:,} images",
                PATIENCE_S,
            )
            advance(dose // 10)
            return usage(program.pid, jobs.get(flow.database, job).counts.classified)

        usages = [reach(dose * tenth // 10) for tenth in range(1, 11)]
        truth = {name: ground.faces.truth[face] for name, face in names.items()}
        return flow.verdict({**ground.faces.truth, **truth}), usages


def _growth(usages: list[Usage], repeated: list[Usage]) -> str:
    """Checks memory from the second tenth on, and the cost per image of the later tenths.

    The cost is compared with that of the earlier tenths and of the repetition.
    """
    first, last = usages[1], usages[9]
    images = last.classified - first.classified
    grown_mb = 10_000 * (last.rss_mb - first.rss_mb) / images

    costs = _costs(usages)
    baseline = (median(costs[:4]) + median(_costs(repeated))) / 2
    drift = median(costs[4:]) / baseline - 1

    assert grown_mb < 1, f"memory grew by {grown_mb:.2f} MB in 10,000 images"
    assert drift < 0.05, f"the cost per image grew by {drift:.1%}"
    return f"memory {grown_mb:+.2f} MB in 10,000 images, cost per image {drift:+.1%}"


def _costs(usages: list[Usage]) -> list[float]:
    """Milliseconds of processor time per image in each tenth, without the first."""
    return [earlier.per_image(later) for earlier, later in pairwise(usages[1:])]


_RECLAIM_S = LEASE_S + SWEEP_S + 5

CAMPAIGNS = {
    "groups-sqlite": Campaign(
        "kill -9 of a worker group, SQLite", kill_groups("embedded"), 100, 2, _RECLAIM_S
    ),
    "groups-postgresql": Campaign(
        "kill -9 of a worker group, PostgreSQL", kill_groups("scaled"), 100, 2, _RECLAIM_S
    ),
    "worker": Campaign("kill -9 of an embedded worker", kill_workers("embedded"), 25, 2, 5),
    "pool": Campaign("kill -9 of a Celery pool child", kill_workers("scaled"), 100, 2, 5),
    "redis": Campaign("Redis killed without persistence", kill_redis, 20, 1, 10),
    "consumer": Campaign("Celery gives up at a lost broker", fail_consumer, 20, 1, 15),
    "acknowledge": Campaign(
        "messages that cannot be acknowledged", lose_acknowledgements, 10, 1, 30
    ),
    "flush": Campaign("FLUSHALL", flush_redis, 20, 1, REHINT_S + SWEEP_S + 5),
    "half-open": Campaign("half-open broker connections", disturb_broker(Proxy.freeze), 10, 1, 50),
    "flapping": Campaign("flapping broker connections", disturb_broker(Proxy.cut), 25, 3),
    "postgresql": Campaign("PostgreSQL immediate restart", restart_postgres, 20, 1, 30),
    "commit": Campaign("PostgreSQL backend killed in COMMIT", kill_backends, 50, 2, 30),
    "disk": Campaign("database disk full, then freed", fill_disk, 5, 1),
    "stop": Campaign("SIGSTOP longer than a lease", stop_workers, 20, 2),
    "hints": Campaign("duplicate and stale hints", repeat_hints, 1000, 100),
    "poison": Campaign("poison image in a batch of 32", poison_images, 10, 1),
    "roll-sqlite": Campaign("SIGTERM rolling restart, SQLite", roll("embedded"), 25, 2, 60),
    "roll-postgresql": Campaign("SIGTERM rolling restart, PostgreSQL", roll("scaled"), 25, 2, 60),
    "crash": Campaign("crash around claim, predict, commit, publish", crash_at_points, 120, 6),
    "webhooks": Campaign("a webhook's receiver or sender fails", fail_receivers, 20, 2, _RECLAIM_S),
    "drive-sqlite": Campaign("drive fails, SQLite", fail_drive("embedded"), 20, 1, 10),
    "drive-postgresql": Campaign("drive fails, PostgreSQL", fail_drive("scaled"), 20, 0, 10),
    "files": Campaign("no more files can be opened", exhaust_files, 20, 1, 10),
    "folder": Campaign("folder gone, or another one in its place", lose_folder, 20, 1, 10),
    "hang-sqlite": Campaign("file hangs, SQLite", hang_file("embedded"), 20, 1, 2 * LEASE_S + 5),
    "hang-postgresql": Campaign(
        "file hangs, PostgreSQL", hang_file("scaled"), 20, 0, 2 * LEASE_S + 5
    ),
    "hang-folder-sqlite": Campaign(
        "folder hangs, SQLite", hang_folder("embedded"), 20, 0, 2 * LEASE_S + 5
    ),
    "hang-folder-postgresql": Campaign(
        "folder hangs, PostgreSQL", hang_folder("scaled"), 20, 0, 2 * LEASE_S + 5
    ),
    "slow": Campaign("file slower than a lease", slow_file, 20, 1),
    "load-sqlite": Campaign("loading kills, SQLite", die_loading("embedded"), 20, 1, 15),
    "load-postgresql": Campaign("loading kills, PostgreSQL", die_loading("scaled"), 20, 0, 45),
    "restore": Campaign("backup restored amid a batch", restore_backup, 20, 1, 30),
    "rollback": Campaign("release rolled back, stale retries", roll_back, 20, 1, 30),
    "refused": Campaign("row that the database refuses", refuse_rows, 20, 0),
    "upgrade": Campaign("tables upgraded amid the work", upgrade_tables, 20, 1, 60),
    "swallow": Campaign("half-open PostgreSQL connections", swallow_database, 20, 0, 60),
    "clock": Campaign("database clock a month ahead, and back", set_clock, 20, 0, 30),
    "soak": Campaign("no fault: images of one long job", soak, 200_000, 2_000),
}
"""By the name that `--only` takes."""
