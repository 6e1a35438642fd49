"""The addresses of the page for people: the page itself and its files, each with an entity tag."""

from functools import partial

from flask import Flask, Response, request

from server.dashboard import LIBRARY, POLICY, Asset, Dashboard

_OF_THE_PAGE = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",  # without any, a browser hides its own Origin as well
}


def add_page(app: Flask, dashboard: Dashboard) -> None:
    """Serve the page at `/` and what it needs below `/assets/`."""
    app.add_url_rule("/", endpoint="page", view_func=partial(_page, dashboard))
    app.add_url_rule(
        "/assets/<any_text:name>", endpoint="asset", view_func=partial(_asset, dashboard)
    )


def _page(dashboard: Dashboard) -> Response:
    answer = _sent(dashboard.page)
    answer.headers.update(_OF_THE_PAGE)
    return answer


def _asset(dashboard: Dashboard, name: str) -> Response:
    if name == LIBRARY:
        headers = {"Location": f"/assets/{dashboard.library_name}", "Cache-Control": "no-cache"}
        return Response(b"", 302, headers, content_type="text/plain; charset=utf-8")
    return _sent(dashboard.asset(name))


def _sent(asset: Asset) -> Response:
    """The file, or 304 where the client has these very bytes."""
    headers = {"Cache-Control": asset.caching}
    answer = Response(asset.content, headers=headers, content_type=asset.media)
    answer.set_etag(asset.tag)
    answer.make_conditional(request)
    return answer
