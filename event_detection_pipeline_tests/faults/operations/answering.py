"""Answers: what a person was told is written down stays so, and stash and flag say what the answers say, also where
an answer was taken back."""

from collections.abc import Callable, Iterator
from contextlib import suppress

from event_detection_pipeline.chronicle.database import AUDIO_CHUNKS, EVENT_REVIEWS, TRAINING_STASH
from event_detection_pipeline.review.answers import settle_unfinished, withdraw
from event_detection_pipeline.review.reviews import AnswerChanged, Said
from event_detection_pipeline_tests.faults.world import CHIME, Db, World, index_as_chronicle_does, say, upkeep
from event_detection_pipeline_tests.review.flags import add_flagged, version_of

_ANSWERED = 5
_TAKEN_BACK = "c5"
_CONVERSATIONS = _ANSWERED + 1
_FLAGS = {"accepted": "verified", "rejected": "rejected"}


class Answering:
    name = "answer"
    uses_database = True

    def prepare(self, world: World) -> None:
        database = world.open()
        index_as_chronicle_does(database)
        for number in range(_CONVERSATIONS):
            chunks = [{"chunk_index": 0, "audio_data": b"", "duration": 10.0}]
            add_flagged(database, event="chime", adapter="chime_v1", conversation_id=f"c{number}", chunks=chunks)
        database[AUDIO_CHUNKS].create_index("conversation_id")
        database.client.close()

    def run(self, world: World, uri: str, number: int, promise: Callable[[str], None]) -> None:
        database = world.open(uri)
        settle_unfinished(database, copy_audio=False)
        for id_, answer in _answers(number).items():
            say(database, id_, answer, f"reviewer {number}")
            promise(f"{id_} {answer}")
        revisions = say(database, _TAKEN_BACK, "rejected", f"reviewer {number}")
        with suppress(AnswerChanged):  # the other of two people was faster
            revision = revisions[CHIME.name]
            withdraw(
                database, _TAKEN_BACK, f"{_TAKEN_BACK}-v1", CHIME.name, revision=revision, reviewer=f"reviewer {number}"
            )
        database.client.close()

    def broken(self, world: World, promised: list[str]) -> Iterator[str]:
        database = world.open()
        for one in promised:
            id_, answer = one.split()
            review = database[EVENT_REVIEWS].find_one({"conversation_id": id_, "event": "chime"}) or {}
            if answer not in [review.get("answer"), *(before.get("answer") for before in review.get("history", []))]:
                yield f"the answer {one} is lost"
        upkeep(database, {CHIME.name: "chime_v1"})
        yield from _contradictions(database)
        database.client.close()

    def unfinished(self, world: World) -> Iterator[str]:
        database = world.open()
        upkeep(database, {CHIME.name: "chime_v1"})
        yield from _contradictions(database)
        said = {one["conversation_id"]: one["answer"] for one in database[EVENT_REVIEWS].find()}
        if said != _answers(0) | {_TAKEN_BACK: None}:
            yield f"the answers are {said}"
        database.client.close()


def _answers(number: int) -> dict[str, Said]:
    """The second of two people says the opposite."""
    return {f"c{one}": "rejected" if (one + number) % 2 else "accepted" for one in range(_ANSWERED)}


def _contradictions(database: Db) -> Iterator[str]:
    for id_ in map("c{}".format, range(_CONVERSATIONS)):
        reviews = list(database[EVENT_REVIEWS].find({"conversation_id": id_}))
        stashed = database[TRAINING_STASH].count_documents({"conversation_id": id_})
        answer = reviews[0]["answer"] if reviews else None
        if len(reviews) > 1:
            yield f"{id_} was reviewed {len(reviews)} times"
        if stashed != (answer == "rejected"):
            yield f"{id_} was answered {answer} and is {stashed} times in the stash"
        flag = version_of(database, id_)["maybe_anomaly"]
        if flag != _FLAGS.get(str(answer), True):
            yield f"{id_} was answered {answer} and its flag is {flag}"
        if not all(review["settled"] for review in reviews):
            yield f"the answer of {id_} was not carried out"
