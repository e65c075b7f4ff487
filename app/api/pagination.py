"""Headers that tell a client about the pages of a listing."""

from fastapi import Response
from starlette.datastructures import URL


def add_page_headers(
    response: Response, url: URL, *, page: int, page_size: int, total: int
) -> None:
    """Set ``X-Total-Count`` and ``Link`` (RFC 8288: first, prev, next, last).

    Links are relative to the host, which a proxy may call something else.
    """
    last = max(1, -(-total // page_size))
    pages = {"first": 1, "last": last}
    if page > 1:
        pages["prev"] = min(page - 1, last)
    if page < last:
        pages["next"] = page + 1
    links = []
    for relation, number in pages.items():
        target = url.include_query_params(page=number, page_size=page_size)
        links.append(f'<{target.path}?{target.query}>; rel="{relation}"')
    response.headers["X-Total-Count"] = str(total)
    response.headers["Link"] = ", ".join(links)
