"""Lists that arrive page by page, as plain and as asynchronous iterables."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from cuemill_client.calls import Fetch, Page
from cuemill_client.frames import to_pandas, to_polars
from cuemill_client.records import Result
from cuemill_client.steps import Steps

if TYPE_CHECKING:
    import pandas
    import polars

T = TypeVar("T")


class Pages(Generic[T]):
    """A list. Each iteration begins anew, and asks for a page when it comes to it."""

    def __init__(self, run: Callable[[Steps[Page[T]]], Page[T]], fetch: Fetch[T]) -> None:
        self._run = run
        self._fetch = fetch

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page

    def pages(self) -> Iterator[list[T]]:
        """Yields up to 1,000 items at a time."""
        page = self._run(self._fetch(None))
        yield page.data
        while page.next is not None:
            page = self._run(self._fetch(page.next))
            yield page.data


class Results(Pages[Result]):
    """Results, which can become a data frame with the columns of Cuemill's CSV."""

    def to_pandas(self) -> "pandas.DataFrame":
        """All results as a pandas data frame.

        Raises:
            MissingLibraryError: pandas is not installed.
        """
        return to_pandas(self)

    def to_polars(self) -> "polars.DataFrame":
        """All results as a polars data frame.

        Raises:
            MissingLibraryError: polars is not installed.
        """
        return to_polars(self)


class AsyncPages(Generic[T]):
    """As `Pages`, for `async for`."""

    def __init__(
        self, run: Callable[[Steps[Page[T]]], Awaitable[Page[T]]], fetch: Fetch[T]
    ) -> None:
        self._run = run
        self._fetch = fetch

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page:
                yield item

    async def pages(self) -> AsyncIterator[list[T]]:
        """Yields up to 1,000 items at a time."""
        page = await self._run(self._fetch(None))
        yield page.data
        while page.next is not None:
            page = await self._run(self._fetch(page.next))
            yield page.data


class AsyncResults(AsyncPages[Result]):
    """As `Results`."""

    async def to_pandas(self) -> "pandas.DataFrame":
        """As `Results.to_pandas`."""
        return to_pandas([result async for result in self])

    async def to_polars(self) -> "polars.DataFrame":
        """As `Results.to_polars`."""
        return to_polars([result async for result in self])
