"""Promotion and rollback: the pointer, its description and its history agree, and point at something whole."""

from collections.abc import Callable, Iterator

from event_detection_pipeline.adapters.store import AdapterStore
from event_detection_pipeline.errors import PipelineError
from event_detection_pipeline_tests.adapters.test_power_cut import (
    one_promoted_one_not,
    promote,
    roll_back,
    state_of,
    two_versions,
)
from event_detection_pipeline_tests.faults.world import World


class Promoting:
    name = "promotion"
    uses_database = False

    def prepare(self, world: World) -> None:
        (two_versions if _goes_back(world) else one_promoted_one_not)(_store(world))

    def run(self, world: World, uri: str, number: int, promise: Callable[[str], None]) -> None:
        (roll_back if _goes_back(world) else promote)(_store(world))

    def broken(self, world: World, promised: list[str]) -> Iterator[str]:
        try:
            state = state_of(_store(world))
        except (AssertionError, PipelineError, OSError, ValueError) as error:
            yield f"the store cannot be read: {error}"
            return
        if state["versions"] != ["sneeze_v1", "sneeze_v2"]:
            yield f"versions {state['versions']}"
        if state["promoted"] not in state["versions"]:
            yield f"{state['promoted']} is promoted"

    def unfinished(self, world: World) -> Iterator[str]:
        store = _store(world)
        wanted = "sneeze_v1" if _goes_back(world) else "sneeze_v2"
        if str(store.promoted("sneeze")) != wanted:
            yield f"{store.promoted('sneeze')} is promoted, not {wanted}"
        moves = [one.promoted for one in store.promotions("sneeze")]
        if moves != ["sneeze_v1", "sneeze_v2", "sneeze_v1"][: len(moves)] or moves[-1] != wanted:
            yield f"the history says {moves}"
        store.clean_up()
        if left := [path.name for path in store.root.glob(".sneeze*")]:
            yield f"left behind: {left}"


def _store(world: World) -> AdapterStore:
    return AdapterStore(world.settings.adapter_dir)


def _goes_back(world: World) -> bool:
    return world.seed % 2 == 1
