"""The user loop's server: Chronicle's API under /api/user-loop."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pymongo.database import Database
from pymongo.errors import PyMongoError

from event_detection_pipeline.chronicle.database import ensure_indexes
from event_detection_pipeline.config import Settings
from event_detection_pipeline.review import contract
from event_detection_pipeline.review.answers import settle_unfinished
from event_detection_pipeline.review.audio import WavFiles
from event_detection_pipeline.review.service import Service

logger = logging.getLogger(__name__)

PREFIX = "/api/user-loop"


def create_app(database: Database[dict[str, Any]], settings: Settings) -> FastAPI:
    """The application on an open database; on start it finishes what a crash cut short."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(ensure_indexes, database)
        await run_in_threadpool(settle_unfinished, database, copy_audio=settings.review.stash_copy_audio)
        yield

    app = FastAPI(
        title="User loop",
        version="2",
        description="People's answers to what the scan flagged.",
        lifespan=lifespan,
    )
    app.state.service = Service(database, settings, WavFiles(database))
    app.include_router(contract.router, prefix=PREFIX)
    app.add_exception_handler(PyMongoError, _unavailable)
    return app


def serve(database: Database[dict[str, Any]], settings: Settings, host: str, port: int) -> None:
    """Serve until interrupted."""
    uvicorn.run(create_app(database, settings), host=host, port=port, log_level="warning", server_header=False)


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    logger.error("the database does not answer: %s", type(error).__name__)
    return JSONResponse({"detail": "The database does not answer; nothing was lost, try again"}, 503)
