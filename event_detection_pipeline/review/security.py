"""Who may use the server, and what a browser may do with what it gets.

On this machine's own address everybody who can open a page may answer, as long as it is our page: the Host and Origin
of each request are checked, against rebound names and other sites. On any other address a token is needed too.
"""

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import deque
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from threading import Lock
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "event_detection_review"
COOKIE_SECONDS = 90 * 24 * 3600
MAX_BODY_BYTES = 2 * 2**20
MAX_FAILED_LOGINS, FAILED_LOGIN_SECONDS = 5, 60.0

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Without these a page could not log in; they tell nothing.
OPEN_PATHS = ("/api/user-loop/v2/login", "/api/user-loop/v2/session")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def is_loopback(host: str) -> bool:
    """Whether an address to bind to can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def page_policy(nonce: str) -> str:
    """Content-Security-Policy of the page: its own files only; styles that its waveform makes carry the nonce."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
        "connect-src 'self' blob:; media-src 'self' blob:; manifest-src 'self'; worker-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Gate:
    """The token, and how often a wrong one was tried.

    Args:
        token: what people must know; None where everybody on this machine may come in.
        clock: seconds, monotonic.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token, self._clock = token, clock
        self._failed: deque[float] = deque(maxlen=MAX_FAILED_LOGINS)
        self._lock = Lock()

    @property
    def cookie(self) -> str:
        """What the cookie holds: made from the token, without telling it."""
        return hmac.new((self._token or "").encode(), b"review cookie", hashlib.sha256).hexdigest()

    def admits(self, headers: Headers) -> bool:
        """Whether a request carries the token, as bearer or in the cookie."""
        if self._token is None:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._matches(bearer.strip(), self._token):
            return True
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and self._matches(morsel.value, self.cookie)

    def login(self, token: str) -> float | None:
        """Try a token. None if it is right; else the seconds to wait before the next try (0 for none).

        All addresses count together: in a household nobody needs five tries, and one attacker may have many addresses.
        """
        with self._lock:
            now = self._clock()
            if len(self._failed) == MAX_FAILED_LOGINS and now - self._failed[0] < FAILED_LOGIN_SECONDS:
                return FAILED_LOGIN_SECONDS - (now - self._failed[0])
            if self._token is None or self._matches(token, self._token):
                return None
            self._failed.append(now)
            return 0.0

    @staticmethod
    def _matches(given: str, known: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), known.encode())


class Security:
    """ASGI middleware: refuses what must not come in, limits what does, and sets the security headers.

    Args:
        own_names: Host names that this server answers to, None for any (a token protects it then).
        allowed_origins: other origins whose pages may use the API.
    """

    def __init__(
        self, app: ASGIApp, *, gate: Gate, own_names: frozenset[str] | None, allowed_origins: tuple[str, ...] = ()
    ) -> None:
        self._app, self._gate = app, gate
        self._origins = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)
        hosts = {urlsplit(origin).hostname or "" for origin in self._origins}
        self._names = own_names | hosts if own_names is not None else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refuse(scope)

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if not self._origins:
                    headers["Cross-Origin-Resource-Policy"] = "same-origin"
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if refusal:
            await refusal(scope, receive, send_secured)
            return
        await self._app(scope, _limited(receive), send_secured)

    def _refuse(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if self._names is not None and _host_name(headers.get("host", "")) not in self._names:
            return _refusal(421, "This server does not answer to that name; list its address in review.allowed_origins")
        if scope["method"] not in _SAFE_METHODS:
            if not self._same_origin(headers):
                return _refusal(403, "Another site may not answer for you")
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return _refusal(415, "Send JSON, with Content-Type: application/json")
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
                return _refusal(413, f"More than {MAX_BODY_BYTES} bytes")
        protected = scope["path"].startswith("/api/") and scope["path"] not in OPEN_PATHS
        if protected and scope["method"] != "OPTIONS" and not self._gate.admits(headers):
            return _refusal(401, "Log in with the token that the server printed when it started")
        return None

    def _same_origin(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None:  # not a browser, or one so old that it says nothing; the JSON content type keeps forms out
            return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        return origin.lower() in self._origins or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _limited(receive: Receive) -> Receive:
    """A body without a length is cut off at the limit; what is left is not JSON any more."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                return {"type": "http.request", "body": b"", "more_body": False}
        return message

    return limited


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _refusal(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, {"WWW-Authenticate": "Bearer"} if status == 401 else None)
