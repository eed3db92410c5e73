"""What may be promoted next: the gate's verdict and a person's approval, read from where they are kept.

Only an adapter newer than every one that was ever promoted is promoted by itself: what was rolled back, or passed over,
comes back by a person's hand only.
"""

from dataclasses import dataclass
from typing import Literal

from event_detection_pipeline.adapters.store import AdapterStore, AdapterVersion, Approval
from event_detection_pipeline.adapters.verdict import Verdict, evaluation_path, read_verdict
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


def decide(store: AdapterStore, settings: Settings, event: str) -> Decision:
    """About the newest adapter of an event; with `require_approval` about the newest that a person approved, else the
    newest that passed the gate, else the newest.

    Raises:
        NoSuchAdapter: there is none.
    """
    newest = store.newest(event)
    if not settings.adapters.require_approval:
        return decide_on(store, settings, newest)
    decisions = [decide_on(store, settings, version) for version in reversed(store.versions(event))]
    ready = [one for state in ("promote", "waiting") for one in decisions if one.state == state]
    return ready[0] if ready else decisions[0]


def decide_on(store: AdapterStore, settings: Settings, version: AdapterVersion) -> Decision:
    """About one adapter."""
    moves = store.promotions(version.event)
    if store.promoted(version.event) == version:
        return Decision(version, "promoted", moves[-1].reason if moves else "promoted", store.approval(version))
    ever = [AdapterVersion.parse(move.promoted) for move in moves]
    if ever and version <= max(ever):
        was = "was rolled back" if version in ever else "is older than one that was promoted"
        return Decision(
            version, "withdrawn", f"{version} {was}; `event-detection adapters promote {version}` brings it"
        )
    verdict = verdict_on(settings, version)
    if verdict is None or not verdict.passed:
        why = f"did not pass the gate: {verdict.reason}" if verdict else "has not been evaluated"
        return Decision(version, "refused", f"{version} {why}")
    promoted = store.promoted(version.event)
    if verdict.against != (str(promoted) if promoted else None):
        beside = f"judged beside {verdict.against or 'no other adapter'}, and {promoted or 'none'} is promoted now"
        return Decision(version, "refused", f"{version} was {beside}: run the job evaluate_only")
    if not settings.adapters.require_approval:
        return Decision(version, "promote", verdict.reason)
    approval = store.approval(version)
    if approval is None:
        return Decision(version, "waiting", f"{version} is waiting for approval; {verdict.reason}")
    return Decision(version, "promote", f"approved by {approval.by}: {approval.reason}; {verdict.reason}", approval)


def verdict_on(settings: Settings, version: AdapterVersion) -> Verdict | None:
    """The gate's verdict, None where the adapter was never judged."""
    return read_verdict(evaluation_path(settings.evaluation_dir, version))
