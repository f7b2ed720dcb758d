"""When a request is sent again, and after which pause."""

import httpx2 as httpx
import pytest

from cuemill_client import ConnectionFailedError, RateLimitedError, ServerError
from cuemill_client.steps import MAX_WAIT_S, Pause, Request, Steps, send

GET = Request("GET", "/v1/jobs/1")
POST = Request("POST", "/v1/jobs/1/retry", is_repeatable=False)


def answer(status: int, **headers: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = httpx.Request("GET", "http://localhost/v1/jobs/1")
    return httpx.Response(status, headers=headers, request=request)


def pause_after(steps: Steps[httpx.Response], outcome: httpx.Response | Exception) -> float:
    """The pause before the request is sent again, after this outcome of it."""
    step = steps.throw(outcome) if isinstance(outcome, Exception) else steps.send(outcome)
    assert isinstance(step, Pause)
    assert isinstance(next(steps), Request)
    return step.seconds


def begin(request: Request, retries: int = 4) -> Steps[httpx.Response]:
    steps = send(request, retries)
    assert next(steps) is request
    return steps


def test_pauses_grow_until_the_tries_are_used_up() -> None:
    steps = begin(GET, retries=6)
    pauses = [pause_after(steps, httpx.ReadError("cut")) for _ in range(6)]
    for pause, longest in zip(pauses, [0.5, 1, 2, 4, 8, 8], strict=True):
        assert longest / 2 <= pause <= longest
    with pytest.raises(ConnectionFailedError, match="cut"):
        steps.throw(httpx.ReadError("cut"))


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_passes_is_tried_again_and_the_answer_is_the_last_one(status: int) -> None:
    steps = begin(GET)
    pause_after(steps, answer(status))
    last = answer(200)
    with pytest.raises(StopIteration) as end:
        steps.send(last)
    assert end.value.value is last


@pytest.mark.parametrize("request_", [GET, POST])
def test_the_server_says_how_long_to_wait(request_: Request) -> None:
    assert pause_after(begin(request_), answer(503, Retry_After="17")) == 17


def test_a_wait_too_long_is_the_callers_to_decide() -> None:
    with pytest.raises(RateLimitedError) as refused:
        begin(GET).send(answer(429, Retry_After="3600"))
    assert refused.value.retry_after_s == 3600 > MAX_WAIT_S


def test_a_limit_is_waited_for_longer_than_a_failure() -> None:
    steps = begin(GET, retries=1)
    waited_s = 0.0
    while waited_s + 1 <= MAX_WAIT_S:
        waited_s += pause_after(steps, answer(429, Retry_After="1"))
    with pytest.raises(RateLimitedError):
        steps.send(answer(429, Retry_After="1"))

    with pytest.raises(RateLimitedError):
        begin(GET, retries=0).send(answer(429, Retry_After="1"))


def test_what_may_not_be_repeated_is_sent_again_only_if_it_did_not_arrive() -> None:
    pause_after(begin(POST), httpx.ConnectError("refused"))
    with pytest.raises(ConnectionFailedError):
        begin(POST).throw(httpx.ReadError("cut"))
    with pytest.raises(ServerError):
        begin(POST).send(answer(502))


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_what_would_fail_again_is_not_tried_again(status: int) -> None:
    with pytest.raises(Exception, match=str(status)):
        begin(GET).send(answer(status))
