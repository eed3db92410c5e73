"""The review page: files built from frontend/ and shipped in the package, so that nobody needs Node to run it."""

import secrets
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, HTMLResponse
from starlette.staticfiles import StaticFiles

from event_detection_pipeline.review.security import page_policy

STATIC = Path(__file__).with_name("static")

_NONCE = "__NONCE__"  # stands in index.html where each reply gets its own

router = APIRouter(include_in_schema=False)


@router.get("/")
def index() -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    html = (STATIC / "index.html").read_text("utf-8").replace(_NONCE, nonce)
    return HTMLResponse(html, headers={"Content-Security-Policy": page_policy(nonce), "Cache-Control": "no-cache"})


@router.get("/sw.js")
def service_worker() -> FileResponse:
    # A worker lives by the policy of its own file, not by the page's.
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": "default-src 'none'; connect-src 'self'"}
    return FileResponse(STATIC / "sw.js", media_type="text/javascript", headers=headers)


@router.get("/manifest.webmanifest")
def manifest() -> FileResponse:
    return FileResponse(STATIC / "manifest.webmanifest", media_type="application/manifest+json")


def add_page(app: FastAPI) -> None:
    """Serve the page at / and its files beside it."""
    app.include_router(router)
    app.mount("/assets", StaticFiles(directory=STATIC / "assets"), name="assets")
    app.mount("/icons", StaticFiles(directory=STATIC / "icons"), name="icons")
