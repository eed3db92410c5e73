"""The user loop's server: Chronicle's API under /api/user-loop, the page's own beside it, and the page at /."""

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import typer
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from pymongo.database import Database
from pymongo.errors import PyMongoError

from event_detection_pipeline.chronicle.database import ensure_indexes
from event_detection_pipeline.config import Settings
from event_detection_pipeline.review import adapters, contract, login, v2
from event_detection_pipeline.review.answers import settle_unfinished
from event_detection_pipeline.review.cards import ensure_card_indexes
from event_detection_pipeline.review.page import add_page
from event_detection_pipeline.review.reviews import ensure_review_indexes
from event_detection_pipeline.review.security import Gate, Security, is_loopback
from event_detection_pipeline.review.service import Service

logger = logging.getLogger(__name__)

PREFIX = "/api/user-loop"

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def create_app(database: Database[dict[str, Any]], settings: Settings, *, token: str | None = None) -> FastAPI:
    """The application on an open database; on start it finishes what a crash cut short.

    Args:
        token: asked for on every call; None serves this machine only, whatever address it is bound to.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(_prepare, database, settings)
        yield

    app = FastAPI(
        title="User loop",
        version="2",
        description="People's answers to what the scan flagged.",
        lifespan=lifespan,
        openapi_url=f"{PREFIX}/openapi.json",
        # Their pages load scripts from the internet.
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = Service(database, settings)
    app.state.gate = Gate(token)
    for router in (contract.router, v2.router, adapters.router, login.router):
        app.include_router(router, prefix=PREFIX)
    add_page(app)
    app.add_exception_handler(PyMongoError, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    origins = settings.review.allowed_origins
    app.add_middleware(
        Security,
        gate=app.state.gate,
        own_names=_LOOPBACK_NAMES if token is None else None,
        allowed_origins=origins,
    )
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Range"],
        )
    return app


def serve(database: Database[dict[str, Any]], settings: Settings, host: str, port: int) -> None:
    """Serve until interrupted. On any address but this machine's own a token is needed; it is printed if made here."""
    token = settings.review.token.get_secret_value() if settings.review.token else None
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
        typer.echo(f"The page asks for this token, once a browser: {token}")
    typer.echo(f"Review at http://{f'[{host}]' if ':' in host else host}:{port}/ (Ctrl+C ends it)")
    uvicorn.run(
        create_app(database, settings, token=token), host=host, port=port, log_level="warning", server_header=False
    )


def _prepare(database: Database[dict[str, Any]], settings: Settings) -> None:
    ensure_indexes(database)
    ensure_card_indexes(database)
    ensure_review_indexes(database)
    settle_unfinished(database, copy_audio=settings.review.stash_copy_audio)


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    logger.error("the database does not answer: %s", type(error).__name__)
    return JSONResponse({"detail": "The database does not answer; nothing was lost, try again"}, 503)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    # Never the input, as FastAPI's own handler does: it may be a token, or a number or a text that JSON cannot hold.
    assert isinstance(error, RequestValidationError)
    problems = [{name: problem[name] for name in ("loc", "msg", "type")} for problem in error.errors()]
    return JSONResponse({"detail": problems}, 422)
