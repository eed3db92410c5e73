"""A MongoDB server that can be stopped and started, told to refuse, and reached over a bad line."""

import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from pymongo import MongoClient

from event_detection_pipeline.chronicle.database import APP_NAME

WRITES = ("insert", "update", "delete", "findAndModify")
READS = ("find", "getMore", "aggregate", "count", "distinct")


class Server:
    """A standalone server, as Chronicle's usually is, in a process of its own: its driver retries no write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.uri = uri_of(self.port)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve again what was there before."""
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, self._folder, self.port), daemon=True)
        self._process.start()
        there.close()
        self._pipe.recv()

    def stop(self) -> None:
        """Close all connections and shut down in good order."""
        self._pipe.send("stop")
        self._process.join(20)

    def flush(self) -> None:
        """What was written until now is on the disk."""
        with MongoClient(self.uri) as client:
            client.admin.command("fsync")

    def kill(self) -> None:
        """SIGKILL: what was written last is lost where nobody waited for the journal, as with MongoDB itself."""
        self._process.kill()
        self._process.join()

    @contextmanager
    def refusing(self, commands: Sequence[str], *, after: int, code: int) -> Iterator[None]:
        """As long as the block lasts these fail with an error code, once the pipeline has done them `after` times."""
        refuse = {"failCommands": list(commands), "errorCode": code, "appName": APP_NAME}
        with MongoClient(self.uri) as client:  # of another name: it can switch this off again
            client.admin.command("configureFailPoint", "failCommand", mode={"skip": after}, data=refuse)
            try:
                yield
            finally:
                client.admin.command("configureFailPoint", "failCommand", mode="off")


class Line:
    """A line to a server that delays every message, or breaks at one of them; what asks again gets through.

    Args:
        breaks_at: the number (from 0) of the message to the server at which all connections are lost.
        delivers: whether that message still arrives, so that only its reply is lost.
        silently: no connection is closed; on that one nothing comes any more.

    Attributes:
        uri: behind which the server is found.
        messages: how many went to the server.
    """

    def __init__(
        self,
        port: int,
        *,
        delay: float = 0.0,
        breaks_at: int | None = None,
        delivers: bool = False,
        silently: bool = False,
    ) -> None:
        self._port, self._delay = port, delay
        self._delivers, self._silently = delivers, silently
        self.breaks_at, self.messages = breaks_at, 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._silent: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = uri_of(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._hang_up()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                return
            with self._lock:
                self._open += [client, server]
            threading.Thread(target=self._forward, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(self._delay)
                if asks and self._breaks_now():
                    self._break(source, target, data)
                    return
                if target not in self._silent:
                    target.sendall(data)
        for one in (source, target):
            one.close()

    def _break(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        if self._silently:
            self._silent.add(client)
        if self._delivers:
            server.sendall(data)
            time.sleep(0.05)  # time for the server to do it
        if not self._silently:
            self._hang_up()

    def _breaks_now(self) -> bool:
        with self._lock:
            number = self.messages
            self.messages += 1
        return number == self.breaks_at

    def _hang_up(self) -> None:
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._open.clear()


def uri_of(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}"


def _serve(pipe: Connection, folder: Path, port: int) -> None:
    from secantus import SecantusDBServer

    with SecantusDBServer(port=port, storage_path=str(folder), replica_set_name=None):
        pipe.send("ready")
        pipe.recv()
