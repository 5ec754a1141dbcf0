"""Lists that the mesh gives a page at a time."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar


class Page(Protocol):
    """An answer that may have a next page."""

    next_page_token: str

    def MergeFrom(self, other: Any) -> None: ...  # noqa: N802 - protobuf's own name


class PageRequest(Protocol):
    """What asks for a page."""

    page_token: str


Request = TypeVar("Request", bound=PageRequest)
Response = TypeVar("Response", bound=Page)


async def every_page(list_page: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    """All pages in one answer. Raises grpc.aio.AioRpcError."""
    whole = await list_page(request)
    while whole.next_page_token:
        request.page_token, whole.next_page_token = whole.next_page_token, ""
        whole.MergeFrom(await list_page(request))
    return whole
