"""The settings that a producer and a worker must share, and those of a worker alone."""

from models.queue import CLASSIFY, QUEUE, SCAN, TRAIN, TRAINING_QUEUE, make_app
from worker.broker.app import TASK_TIME_LIMIT_S, make_worker_app

URL = "redis://127.0.0.1:6379/0"

SHARED = [
    "broker_url",
    "task_default_queue",
    "task_routes",
    "task_serializer",
    "accept_content",
    "result_accept_content",
    "task_ignore_result",
    "result_backend",
]


def test_a_producer_and_a_worker_agree_on_messages_and_where_they_go() -> None:
    producer, worker = make_app(URL).conf, make_worker_app(URL).conf
    assert {name: producer[name] for name in SHARED} == {name: worker[name] for name in SHARED}
    timeouts = producer.broker_transport_options
    assert timeouts.items() <= worker.broker_transport_options.items()


def test_images_and_trainings_go_to_queues_of_their_own() -> None:
    router = make_app(URL).amqp.router
    assert [router.route({}, task)["queue"].name for task in (SCAN, CLASSIFY, TRAIN)] == [
        QUEUE,
        QUEUE,
        TRAINING_QUEUE,
    ]


def test_a_message_is_not_delivered_again_while_its_task_may_still_run() -> None:
    options = make_worker_app(URL).conf.broker_transport_options
    assert options["visibility_timeout"] > TASK_TIME_LIMIT_S


def test_a_worker_imports_the_tasks_that_it_runs() -> None:
    app = make_worker_app(URL, tasks=["worker.broker.tasks"])
    app.loader.import_default_modules()
    assert {SCAN, CLASSIFY} <= app.tasks.keys()
