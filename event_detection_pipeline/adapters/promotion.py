"""What may be promoted next: the gate's verdict and a person's approval, read from where they are kept.

Only an adapter newer than every one that was ever promoted is promoted by itself: what was rolled back, or passed over,
comes back by a person's hand only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion, Approval, Promotion
from event_detection_pipeline.adapters.verdict import BrokenEvaluation, Verdict, evaluation_path, read_verdict
from event_detection_pipeline.config import Settings

State = Literal["promote", "promoted", "waiting", "withdrawn", "refused"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about an adapter, and why.

    `waiting`: it passed the gate, and a person has yet to approve it. `withdrawn`: it was promoted and is not any more.
    `refused`: it did not pass the gate, or was never judged.
    """

    version: AdapterVersion
    state: State
    reason: str
    approval: Approval | None = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the store has on record about an event's adapters; read once for many decisions, since in a shared store
    each record is an object of its own."""

    promoted: AdapterVersion | None
    moves: Sequence[Promotion]
    approvals: Mapping[str, Approval]

    @classmethod
    def read(cls, store: AdapterStore, event: str) -> Self:
        return cls(store.promoted(event), store.promotions(event), store.approvals(event))


def decide(store: AdapterStore, settings: Settings, event: str) -> Decision:
    """About the newest adapter of an event; with `require_approval` about the newest that a person approved, else the
    newest that passed the gate, else the newest.

    Raises:
        NoSuchAdapter: there is none.
    """
    newest, ledger = store.newest(event), Ledger.read(store, event)
    if not settings.adapters.require_approval:
        return decide_on(ledger, settings, newest)
    decisions = [decide_on(ledger, settings, version) for version in reversed(store.versions(event))]
    ready = [one for state in ("promote", "waiting") for one in decisions if one.state == state]
    return ready[0] if ready else decisions[0]


def decide_on(ledger: Ledger, settings: Settings, version: AdapterVersion) -> Decision:
    """About one adapter of the ledger's event."""
    approval = ledger.approvals.get(str(version))
    if ledger.promoted == version:
        return Decision(version, "promoted", ledger.moves[-1].reason if ledger.moves else "promoted", approval)
    ever = [AdapterVersion.parse(move.promoted) for move in ledger.moves]
    if ever and version <= max(ever):
        was = "was rolled back" if version in ever else "is older than one that was promoted"
        return Decision(
            version, "withdrawn", f"{version} {was}; `event-detection adapters promote {version}` brings it"
        )
    try:
        verdict = verdict_on(settings, version)
    except BrokenEvaluation as error:
        return Decision(version, "refused", f"{version} has not been evaluated: {error}")
    if verdict is None or not verdict.passed:
        why = f"did not pass the gate: {verdict.reason}" if verdict else "has not been evaluated"
        return Decision(version, "refused", f"{version} {why}")
    if verdict.against != (str(ledger.promoted) if ledger.promoted else None):
        beside = (
            f"judged beside {verdict.against or 'no other adapter'}, and {ledger.promoted or 'none'} is promoted now"
        )
        return Decision(version, "refused", f"{version} was {beside}: run the job evaluate_only")
    if not settings.adapters.require_approval:
        return Decision(version, "promote", verdict.reason)
    if approval is None:
        return Decision(version, "waiting", f"{version} is waiting for approval; {verdict.reason}")
    return Decision(version, "promote", f"approved by {approval.by}: {approval.reason}; {verdict.reason}", approval)


def verdict_on(settings: Settings, version: AdapterVersion) -> Verdict | None:
    """The gate's verdict, None where the adapter was never judged.

    Raises:
        BrokenEvaluation.
    """
    return read_verdict(evaluation_path(settings.evaluation_dir, version))
