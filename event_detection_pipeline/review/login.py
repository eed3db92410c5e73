"""Logging in: the token once, then a cookie that scripts cannot read and other sites cannot send."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, StringConstraints

from event_detection_pipeline.review.contract import Problem
from event_detection_pipeline.review.security import COOKIE, COOKIE_SECONDS, Gate

router = APIRouter(prefix="/v2", tags=["Login"])


class Login(BaseModel):
    token: Annotated[str, StringConstraints(max_length=500)]


class Session(BaseModel):
    """Whether this browser may use the API."""

    admitted: bool


@router.post("/login", responses={403: {"model": Problem}, 429: {"model": Problem}})
def login(request: Request, response: Response, given: Login) -> Session:
    """Trade the token for a cookie. After five wrong ones in a minute nobody can try for a while."""
    gate: Gate = request.app.state.gate
    wait = gate.login(given.token)
    if wait:
        raise HTTPException(429, "Too many wrong tokens; wait a minute", headers={"Retry-After": str(int(wait) + 1)})
    if wait is not None:
        raise HTTPException(403, "That is not the token")
    response.set_cookie(
        COOKIE,
        gate.cookie,
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return Session(admitted=True)


@router.get("/session")
def session(request: Request) -> Session:
    """Whether this browser is logged in, or needs not be."""
    gate: Gate = request.app.state.gate
    return Session(admitted=gate.admits(request.headers))
