"""Who may reach the app: the addresses it serves, the names it answers to, and what its pages may load.

A page of another site can make a browser send requests here: under a name that it points at this machine (DNS
rebinding), or straight to the loopback address. Requests are therefore refused unless they name this server and come
from its own pages.
"""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ctbench_ui.form import browser
from ctbench_ui.frame.page_style import STYLE

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(?:(?P<name>[a-z0-9._-]+)|\[(?P<ipv6>[0-9a-f:.]+)\])(?::\d+)?")
_EVERY_ADDRESS = "0.0.0.0"  # Streamlit's choice when server.address is not set

# Streamlit's pages style elements in place, its charts compile their expressions, and its components load from blobs.
_CONTENT_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "frame-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def middleware() -> list[Middleware]:
    """Return what stands before the app.

    Raises:
        SystemExit: the server would listen on an address of the network and CTBENCH_ROOTS is not set.
    """
    refusal = refuse_address(st.get_option("server.address") or _EVERY_ADDRESS)
    if refusal:
        raise SystemExit(refusal)
    return [Middleware(_Guard), Middleware(_Styled)]


class _Guard:
    """Answer requests to this server from its own pages; refuse all others with what to set."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if message["status"] in (200, 304) and (cookie := _new_cookie(scope)):
                    headers.append("Set-Cookie", cookie)
            await send(message)

        refusal = _refuse(scope)
        if refusal:
            await PlainTextResponse(refusal, status_code=403)(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)


class _Styled:
    """Put the style of every page at the end of its document, behind the styles that Streamlit adds to its head."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "text/html" not in Headers(scope=scope).get("accept", ""):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        parts: list[bytes] = []

        async def send_styled(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            headers, body = MutableHeaders(scope=start), b"".join(parts)
            if "text/html" in headers.get("content-type", "") and "content-encoding" not in headers and body:
                body = body.replace(b"</body>", STYLE.encode() + b"</body>", 1)
                headers["content-length"] = str(len(body))
            await send(start)
            await send({"type": "http.response.body", "body": body})

        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self._app({**scope, "headers": plain}, receive, send_styled)


def _new_cookie(scope: Scope) -> str | None:
    """Return the cookie that a page gives a browser without one."""
    headers = Headers(scope=scope)
    if "text/html" not in headers.get("accept", ""):
        return None
    is_secure = "https" in (scope.get("scheme"), headers.get("x-forwarded-proto"))
    return browser.new_cookie(headers.get("cookie", ""), is_secure)


def _refuse(scope: Scope) -> str | None:
    """Return why a request is refused; None when it is answered."""
    address, port = scope.get("server") or (_EVERY_ADDRESS, 0)
    is_socket_file = port is None
    if not is_socket_file and (refusal := refuse_address(address)):
        return refusal
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or _name(hosts[0]) not in _names():
        return f"This server does not answer to the name {', '.join(hosts)!r}. Add it to CTBENCH_HOSTS and start again."
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != hosts[0].lower():
        return f"A page of {origin} may not use this server. A proxy before it must pass the Host header on unchanged."
    return None


def refuse_address(address: str) -> str | None:
    """Return why an address is not served; None when it is."""
    if _is_loopback(address) or os.environ.get("CTBENCH_ROOTS", "").strip():
        return None
    return (
        f"The address {address} can be reached from other machines, and CTBENCH_ROOTS is not set, so that everyone could "
        "read every folder of this one. Set CTBENCH_ROOTS to the folders that users may open, or serve on 127.0.0.1."
    )


def _is_loopback(address: str) -> bool:
    if address in _LOOPBACK_NAMES or address.startswith("unix:"):
        return True
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # another name, which the network resolves
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def _names() -> frozenset[str]:
    named = os.environ.get("CTBENCH_HOSTS", "").replace(",", " ").split()
    return frozenset(name.lower() for name in (*_LOOPBACK_NAMES, *named))


def _name(host: str) -> str | None:
    """Return the name in a Host header, without its port and in small letters; None when it is none."""
    parts = _HOST.fullmatch(host.lower())
    return parts and (parts["name"] or parts["ipv6"])
