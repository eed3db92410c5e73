"""What is promoted next: only what passed the gate, only what a person approved where that is asked for, and never
again what was rolled back."""

import json
from pathlib import Path

import pytest

from event_detection_pipeline.adapters.promotion import decide
from event_detection_pipeline.adapters.store import AdapterStore, NoSuchAdapter
from event_detection_pipeline.config import AdapterSettings, EventSettings, Settings
from event_detection_pipeline_tests.adapters.stored import add_adapter


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, events=(EventSettings(name="sneeze"),))


@pytest.fixture
def careful(settings: Settings) -> Settings:
    return settings.model_copy(update={"adapters": AdapterSettings(require_approval=True)})


@pytest.fixture
def store(settings: Settings) -> AdapterStore:
    return AdapterStore(settings.adapter_dir)


def test_what_passed_the_gate_is_promoted_and_what_did_not_is_not(settings: Settings, store: AdapterStore) -> None:
    with pytest.raises(NoSuchAdapter, match="no adapter of event sneeze has been trained"):
        decide(store, settings, "sneeze")
    add_adapter(settings)
    assert decide(store, settings, "sneeze").state == "promote"
    add_adapter(settings, passed=False)
    decision = decide(store, settings, "sneeze")
    assert (decision.state, str(decision.version)) == ("refused", "sneeze_v2")
    assert "average precision 0.10 is too low" in decision.reason
    add_adapter(settings, passed=None)
    assert "sneeze_v3 has not been evaluated" in decide(store, settings, "sneeze").reason


@pytest.mark.parametrize(
    "written", ["{}", '{"verdict": {"passed": true, "rea', '{"verdict": {"passed": "x"}}', "[]", ""]
)
def test_a_broken_evaluation_promotes_nothing_and_says_what_to_do(
    settings: Settings, store: AdapterStore, written: str
) -> None:
    version = add_adapter(settings)
    (settings.evaluation_dir / f"{version}.json").write_text(written)
    decision = decide(store, settings, "sneeze")
    assert decision.state == "refused"
    assert "run the job evaluate_only" in decision.reason


def test_an_evaluation_of_a_later_release_is_read(settings: Settings, store: AdapterStore) -> None:
    version = add_adapter(settings)
    verdict = {"passed": True, "reason": "better", "against": None, "unheard of": 1}
    (settings.evaluation_dir / f"{version}.json").write_text(json.dumps({"verdict": verdict}))
    assert decide(store, settings, "sneeze").state == "promote"


def test_a_verdict_beside_another_adapter_than_the_promoted_one_is_too_old(
    settings: Settings, store: AdapterStore
) -> None:
    first = add_adapter(settings)
    add_adapter(settings)
    store.promote(first, by="test", reason="by hand")
    decision = decide(store, settings, "sneeze")
    assert decision.state == "refused"
    assert "judged beside no other adapter, and sneeze_v1 is promoted now: run the job evaluate_only" in decision.reason


def test_an_approval_is_waited_for_and_names_who_gave_it(careful: Settings, store: AdapterStore) -> None:
    version = add_adapter(careful)
    assert decide(store, careful, "sneeze").state == "waiting"
    store.approve(version, by="ada", reason="I listened to ten of its flags")
    decision = decide(store, careful, "sneeze")
    assert decision.state == "promote"
    assert decision.reason.startswith("approved by ada: I listened to ten of its flags")


def test_what_is_approved_goes_before_a_newer_one_that_waits(careful: Settings, store: AdapterStore) -> None:
    approved = add_adapter(careful)
    add_adapter(careful)
    store.approve(approved, by="ada", reason="good")
    decision = decide(store, careful, "sneeze")
    assert (decision.state, decision.version) == ("promote", approved)


def test_an_approval_helps_nothing_that_did_not_pass_the_gate(careful: Settings, store: AdapterStore) -> None:
    store.approve(add_adapter(careful, passed=False), by="ada", reason="please")
    assert decide(store, careful, "sneeze").state == "refused"


def test_a_candidate_waits_on_while_a_newer_one_fails(careful: Settings, store: AdapterStore) -> None:
    waiting = add_adapter(careful)
    add_adapter(careful, passed=False)
    assert (decide(store, careful, "sneeze").state, decide(store, careful, "sneeze").version) == ("waiting", waiting)
    store.approve(waiting, by="ada", reason="good")
    assert (decide(store, careful, "sneeze").state, decide(store, careful, "sneeze").version) == ("promote", waiting)


@pytest.mark.parametrize("approved", [False, True])
def test_what_was_rolled_back_comes_back_by_hand_only(
    settings: Settings, careful: Settings, store: AdapterStore, approved: bool
) -> None:
    chosen = careful if approved else settings
    passed_over = add_adapter(chosen)
    for _ in range(2):
        version = add_adapter(chosen)
        store.approve(passed_over, by="ada", reason="good")
        store.approve(version, by="ada", reason="good")
        store.promote(decide(store, chosen, "sneeze").version, by="test", reason="next")
    assert decide(store, chosen, "sneeze").state == "promoted"
    store.rollback("sneeze", by="test", reason="false alarms")
    decision = decide(store, chosen, "sneeze")
    assert (decision.state, str(decision.version)) == ("withdrawn", "sneeze_v3")
    add_adapter(chosen)
    assert decide(store, chosen, "sneeze").state == ("waiting" if approved else "promote")
