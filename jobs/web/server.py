"""The listener: its socket, its routes, what it lets through."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable

import prometheus_client
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.live import rules_of
from jobs.web import detail, front
from jobs.web.document import STYLE_DIGEST, View, document
from jobs.web.markup import element
from syncer import errors
from syncer.rules import Address

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none';"
    f" frame-ancestors 'none'; style-src 'sha256-{STYLE_DIGEST}'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PATIENCE = 5.0  # seconds for requests under way to end


def listen(address: Address) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        UsageError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family)
    except OSError as error:
        raise errors.UsageError(
            f"cannot listen on {address}: {error.strerror}; set [daemon] listen to another address"
        ) from error


class Server:
    """Serves the pages in a thread of its own, until closed.

    Args:
        listener: Where it listens.
        view: What the pages are made of.
        metrics: What `/metrics` tells.
        healthy: Whether the scheduler turns.
    """

    def __init__(
        self,
        listener: socket.socket,
        view: View,
        metrics: prometheus_client.CollectorRegistry,
        healthy: Callable[[], bool],
    ) -> None:
        self._listener = listener
        config = uvicorn.Config(
            _Guard(_application(view, metrics, healthy), view, listener.getsockname()[0]),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=int(_PATIENCE),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=[[listener]], name="web", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self._listener.getsockname()[:2]
        return f"http://{Address(host, port)}/"

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def close(self) -> None:
        """Ends when the requests under way have been answered."""
        self._server.should_exit = True
        self._thread.join(_PATIENCE)


class _Guard:
    """Adds the headers that keep a page harmless, and turns away names that are not ours.

    A page of an attacker whose name has come to point here (DNS rebinding) sends that name as
    `Host`. Over loopback only loopback's names are answered; elsewhere addresses and this host's
    own names are. `[daemon] hosts` adds to them.
    """

    def __init__(self, inner: ASGIApp, view: View, address: str) -> None:
        self._inner = inner
        self._view = view
        self._loopback = ipaddress.ip_address(address).is_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if scope["type"] != "http":
            return
        answer: ASGIApp = self._inner
        if not self._is_ours(Headers(scope=scope).get("host", "")):
            answer = PlainTextResponse("no such host here\n", status_code=421)
        await answer(scope, receive, guarded)

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        try:
            found = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            more = self._view.live.rules.daemon.hosts
            ours = {"localhost", *more, *(() if self._loopback else _own_names())}
            return name.lower().rstrip(".") in ours
        return found.is_loopback or not self._loopback


def _own_names() -> set[str]:
    return {socket.gethostname().lower(), socket.getfqdn().lower()}


def _application(
    view: View, metrics: prometheus_client.CollectorRegistry, healthy: Callable[[], bool]
) -> Starlette:
    def index(_: Request) -> Response:
        return HTMLResponse(front.page(view))

    def rule(request: Request) -> Response:
        name = request.path_params["name"]
        found = next((each for each in rules_of(view.live.rules) if each.name == name), None)
        return HTMLResponse(front.rule_page(view, found)) if found else _missing(view, "rule")

    def run(request: Request) -> Response:
        found = view.state.runs.get(request.path_params["id"])
        return HTMLResponse(detail.run_page(view, found)) if found else _missing(view, "run")

    def plan(request: Request) -> Response:
        found = detail.plan_page(view, request.path_params["id"])
        return HTMLResponse(found) if found else _missing(view, "plan")

    def metrics_(_: Request) -> Response:
        told = prometheus_client.generate_latest(metrics)
        return Response(told, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    def healthz(_: Request) -> Response:
        return _probe(healthy(), "the scheduler does not turn")

    def readyz(_: Request) -> Response:
        return _probe(healthy() and not view.live.stopping, "stopping")

    return Starlette(
        routes=[
            Route("/", index),
            Route("/rules/{name}", rule),
            Route("/runs/{id}", run),
            Route("/plans/{id}", plan),
            Route("/metrics", metrics_),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
        exception_handlers={errors.StateError: _unreadable, 404: _no_page},
    )


def _probe(good: bool, otherwise: str) -> Response:  # noqa: FBT001
    return PlainTextResponse("ok\n" if good else f"{otherwise}\n", status_code=200 if good else 503)


def _missing(view: View, what: str) -> Response:
    words = f"There is no such {what}; it may be so old that it was forgotten."
    return HTMLResponse(document(view, "not found", element("p", words)), status_code=404)


def _no_page(_: Request, __: Exception) -> Response:
    return PlainTextResponse("there is no such page\n", status_code=404)


def _unreadable(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", status_code=503)
