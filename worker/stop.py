"""The request to stop, as a signal makes it."""

from queue import Empty, SimpleQueue


class Stop:
    """Is set once, and can be waited for.

    A signal handler may set it. It may not set a `threading.Event`: Python runs the handler within
    whatever the main thread is doing, and if that is just waiting for the event, it holds the lock
    that setting it needs. The program then stands still for ever. The queue beneath this class is
    made for such calls.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._requests: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self._is_set = True
        self._requests.put(None)

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until it is set, but no longer than `timeout_s`. Returns whether it is set."""
        try:
            self._requests.get(timeout=timeout_s)
        except Empty:
            return False
        # The others who wait see the request too.
        self.set()
        return True
