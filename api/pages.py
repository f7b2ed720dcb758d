"""Pages of lists: one envelope for all of them, and a `Link` header that leads to the next."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Response

from api.schemas.common import Page

Row = TypeVar("Row")
Item = TypeVar("Item")


class Pager:
    """Makes the page that a request asks for, and adds `Link` to the response's headers."""

    def __init__(self, request: Request, response: Response) -> None:
        self._url = request.url
        self.headers = response.headers

    def page(
        self,
        rows: Sequence[Row],
        limit: int,
        to_item: Callable[[Row], Item],
        cursor: Callable[[Row], str],
    ) -> Page[Item]:
        """A page of a list.

        Args:
            rows: `limit + 1` of them are read, so that it is known whether more follow.
            cursor: where the page after this row begins.
        """
        shown = rows[:limit]
        after = cursor(shown[-1]) if len(rows) > limit else None
        if after is not None:
            query = self._url.include_query_params(after=after).query
            self.headers["Link"] = f'<{self._url.path}?{query}>; rel="next"'

        items = [to_item(row) for row in shown]
        return Page(data=items, has_more=after is not None, next=after)


async def _make_pager(request: Request, response: Response) -> Pager:
    return Pager(request, response)


InjectedPager = Annotated[Pager, Depends(_make_pager)]


def whole(items: Iterable[Item]) -> Page[Item]:
    """The only page of a short list."""
    return Page(data=list(items), has_more=False, next=None)
