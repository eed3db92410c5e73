"""A server that wants a login: who has none is told so without a password, who may only read is told when writing."""

from collections.abc import Iterator

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from secantus import SecantusDBServer

from event_detection_pipeline.chronicle.database import ChronicleUnavailable, connect


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that knows one user, who may only read."""
    folder = str(tmp_path_factory.mktemp("mongodb"))
    with SecantusDBServer(storage_path=folder) as server, MongoClient(server.uri) as client:
        roles = [{"role": "read", "db": "chronicle"}]
        client.admin.command("createUser", "reader", pwd="right-secret", roles=roles)
    with SecantusDBServer(storage_path=folder, require_auth=True) as server:
        yield ":".join(map(str, server.address))


@pytest.mark.parametrize("who", ["", "reader:wrong-secret@", "nobody:wrong-secret@"])
def test_who_may_not_enter_is_told_so_without_the_password(host: str, who: str) -> None:
    with pytest.raises(ChronicleUnavailable, match=host) as raised:
        connect(f"mongodb://{who}{host}/?authSource=admin", "chronicle", timeout_seconds=5)
    assert "secret" not in str(raised.value)


def test_who_may_only_read_connects_and_is_refused_when_writing(host: str) -> None:
    database = connect(f"mongodb://reader:right-secret@{host}/?authSource=admin", "chronicle", timeout_seconds=5)
    with pytest.raises(OperationFailure) as raised:
        database["conversations"].insert_one({})
    assert raised.value.code == 13  # Unauthorized
    database.client.close()
