"""The Adapters tab's API: candidates that wait for a person's approval, beside what is promoted."""

import logging
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, StringConstraints

from event_detection_pipeline.adapters.catalogue import catalogue
from event_detection_pipeline.adapters.promotion import Ledger, State, decide_on
from event_detection_pipeline.adapters.store import AdapterVersion, NoSuchAdapter, open_store
from event_detection_pipeline.review.contract import NOT_FOUND, Id, Problem
from event_detection_pipeline.review.service import service_of
from event_detection_pipeline.review.v2 import Reviewer

logger = logging.getLogger(__name__)

router = APIRouter(prefix="/v2/adapters", tags=["Adapters"])

Reason = Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]


_SHOWN: tuple[State, ...] = ("waiting", "promote", "promoted")


class Figure(BaseModel):
    """A share with its confidence interval; null where it cannot be measured."""

    value: float | None
    low: float | None
    high: float | None


class GivenApproval(BaseModel):
    """Who approved an adapter, when and why."""

    at: str
    by: str
    reason: str


class Adapter(BaseModel):
    """An adapter and what becomes of it. `state`: "waiting" for approval, "promote" (approved: the next run promotes
    it), "promoted", "withdrawn" or "refused" by the gate, whose words are in `verdict`."""

    name: str
    event: str
    state: State
    average_precision: Figure
    recall: Figure
    false_alarm_rate: Figure
    verdict: str
    approval: GivenApproval | None


class Adapters(BaseModel):
    """Of each event what is promoted, what waits and what was refused last; `enabled` where approval is asked for."""

    enabled: bool
    adapters: list[Adapter]


class NewApproval(BaseModel):
    """A person's word that the adapter may be promoted, and why."""

    reviewer: Reviewer = "somebody"
    reason: Reason


@router.get("")
def adapters(request: Request) -> Adapters:
    """What waits for approval, newest first, beside what is promoted."""
    settings = service_of(request).settings
    if not settings.adapters.require_approval:
        return Adapters(enabled=False, adapters=[])
    entries = catalogue(settings, settings.events)
    newest = {entry.event: entry.name for entry in entries}.values()
    shown = [one for one in reversed(entries) if one.state in _SHOWN or (one.state == "refused" and one.name in newest)]
    return Adapters(enabled=True, adapters=[Adapter.model_validate(asdict(entry)) for entry in shown])


@router.post("/{name}/approve", responses=NOT_FOUND | {409: {"model": Problem}})
def approve(request: Request, name: Id, new: NewApproval) -> GivenApproval:
    """Approve a candidate that waits. It moves nothing by itself: the next run of promoted_adapter does."""
    settings = service_of(request).settings
    store = open_store(settings)
    try:
        version = AdapterVersion.parse(name)
        store.path(version)
    except NoSuchAdapter:
        raise HTTPException(404, f"Adapter {name} not found") from None
    decision = decide_on(Ledger.read(store, version.event), settings, version)
    if decision.state != "waiting":
        raise HTTPException(409, f"{name} does not wait for approval: {decision.reason}")
    given = store.approve(version, by=new.reviewer, reason=new.reason)
    logger.info("%s approved adapter %s", given.by, name)
    return GivenApproval(at=given.at, by=given.by, reason=given.reason)
