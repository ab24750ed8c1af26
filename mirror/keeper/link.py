"""One connection on the keeper's socket: questions and answers by number, both ways at once, descriptors included.

The streams of asyncio carry no descriptors, so this reads and writes its socket itself, as the loop says that it may.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog

from mirror.core.errors import LedgerDown
from mirror.keeper.wire import (
    MOST_DESCRIPTORS,
    Frames,
    Garbled,
    KeeperFault,
    Message,
    What,
    error_from,
    error_json,
    packed,
)

_LOG = structlog.get_logger("mirror.keeper")
_PIECE: Final = 256 * 1024
#: Bytes that may wait to be written before those who ask wait themselves, and how far that must go down again.
HIGH: Final = 8 * 1024 * 1024
LOW: Final = 1024 * 1024
#: Questions of the other side that are answered at once; more are not read.
MOST_TASKS: Final = 8192
#: Descriptors that one `recvmsg` may bring: those of many frames.
_AT_ONCE: Final = 64
GONE: Final = "the keeper's connection has ended"


@dataclass(slots=True)
class Reply:
    """An answer. Whoever takes it owns its descriptors; `close` lets go of those that nobody took."""

    value: Any = field(default=None, repr=False)
    data: bytes = field(default=b"", repr=False)
    descriptors: tuple[int, ...] = ()

    def close(self) -> None:
        """Close the descriptors. Fine to call twice."""
        taken, self.descriptors = self.descriptors, ()
        for descriptor in taken:
            os.close(descriptor)


Answerer = Callable[[Any, bytes], Awaitable[Reply]]
Listener = Callable[[Any], None]


class Link:
    """Both ends use it. `calls` answer the other side's questions, `notices` hear what wants no answer.

    Descriptors in a `Reply` given by an answerer are closed here once they are sent. `on_lost` is called once, when the
    connection has ended for whatever reason; every open question then fails with `LedgerDown`.
    """

    def __init__(
        self, peer: socket.socket, calls: Mapping[str, Answerer], notices: Mapping[str, Listener], on_lost: Callable[[], None]
    ) -> None:
        peer.setblocking(False)
        self._socket, self.calls, self.notices, self._on_lost = peer, calls, notices, on_lost
        self._loop = asyncio.get_running_loop()
        self._frames, self._numbers = Frames(), itertools.count(1)
        self._open: dict[int, tuple[asyncio.Future[Reply], Callable[[Reply], None] | None]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._out: deque[tuple[bytes | memoryview, tuple[int, ...]]] = deque()
        self._queued, self._scheduled, self._blocked, self._paused = 0, False, False, False
        self._roomy = asyncio.Event()
        self._roomy.set()
        self.closed = False
        self._loop.add_reader(peer.fileno(), self._readable)

    # --- asking ---------------------------------------------------------------------------------------------------

    async def call(self, word: str, value: Any = None, data: bytes = b"", at_once: Callable[[Reply], None] | None = None) -> Reply:
        """Ask, and wait for the answer. Raises what the other side raised, `LedgerDown` when there is no other side.

        `at_once` sees the answer before any message that came after it is heard.
        """
        await self._roomy.wait()
        if self.closed:
            raise LedgerDown(GONE)
        number = next(self._numbers)
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._open[number] = (future, at_once)
        try:
            self._send(Message(What.CALL, number, word, value, data))
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().close()
            elif not self.closed:
                self._send(Message(What.CANCEL, number))
            raise
        finally:
            self._open.pop(number, None)

    def tell(self, word: str, value: Any = None) -> None:
        """Say something that wants no answer. To nobody, if the connection has ended."""
        if not self.closed:
            self._send(Message(What.NOTICE, 0, word, value))

    def close(self) -> None:
        """End the connection from this side; what is still to be sent is sent as far as that can be at once."""
        if not self.closed:
            with suppress(OSError):
                self._flush()
            self._lost()

    async def ended(self) -> None:
        """Wait for the other side's questions that are being answered when the connection has ended."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    # --- sending --------------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        frame = packed(message)
        self._out.append((frame, message.descriptors))
        self._queued += len(frame)
        if self._queued > HIGH:
            self._roomy.clear()
        if not self._scheduled and not self._blocked:
            self._scheduled = True
            self._loop.call_soon(self._soon)

    def _soon(self) -> None:
        self._scheduled = False
        if not self.closed and not self._blocked:
            try:
                self._flush()
            except OSError:
                self._lost()

    def _flush(self) -> None:
        """Write until nothing is left or the socket takes no more. Raises `OSError` when it is of no more use."""
        while self._out:
            pieces, descriptors = self._batch()
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
            try:
                sent = self._socket.sendmsg(pieces, rights, socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                if not self._blocked:
                    self._blocked = True
                    self._loop.add_writer(self._socket.fileno(), self._writable)
                return
            self._sent(sent)
            for descriptor in descriptors:
                os.close(descriptor)
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self._socket.fileno())

    def _batch(self) -> tuple[list[bytes | memoryview], tuple[int, ...]]:
        """What one `sendmsg` takes: frames up to the next one that has descriptors, which go with its first byte."""
        pieces: list[bytes | memoryview] = []
        total = 0
        descriptors = self._out[0][1]
        for piece, own in itertools.islice(self._out, 64):
            if pieces and (own or total >= _PIECE):
                break
            pieces.append(piece)
            total += len(piece)
        return pieces, descriptors

    def _sent(self, count: int) -> None:
        self._queued -= count
        while count:
            piece, _ = self._out.popleft()
            if len(piece) > count:
                self._out.appendleft((memoryview(piece)[count:], ()))
                break
            count -= len(piece)
        if self._queued <= LOW:
            self._roomy.set()

    def _writable(self) -> None:
        try:
            self._flush()
        except OSError:
            self._lost()

    # --- receiving ------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            piece, descriptors = _received(self._socket)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            piece, descriptors = b"", []
        if not piece:
            self._lost()
            return
        try:
            for message in self._frames.feed(piece, descriptors):
                self._take(message)
        except Garbled as error:
            _LOG.error("keeper_connection_garbled", fault=str(error))
            self._lost()

    def _take(self, message: Message) -> None:
        match message.what:
            case What.CALL:
                task = self._loop.create_task(self._answer(message))
                self._tasks[message.number] = task
                task.add_done_callback(partial(self._answered, message.number))
                if len(self._tasks) >= MOST_TASKS and not self._paused and not self.closed:
                    self._paused = True
                    self._loop.remove_reader(self._socket.fileno())
            case What.CANCEL:
                if (task_or_none := self._tasks.get(message.number)) is not None:
                    task_or_none.cancel()
            case What.NOTICE:
                if (listener := self.notices.get(message.word)) is not None:
                    listener(message.value)
            case What.DONE | What.FAILED:
                self._settle(message)

    def _settle(self, message: Message) -> None:
        reply = Reply(message.value, message.data, message.descriptors)
        future, at_once = self._open.get(message.number, (None, None))
        if future is None or future.done():
            reply.close()
        elif message.what is What.DONE:
            if at_once is not None:
                at_once(reply)
            future.set_result(reply)
        else:
            future.set_exception(error_from(message.value))

    async def _answer(self, message: Message) -> None:
        reply = None
        try:
            answerer = self.calls.get(message.word)
            if answerer is None:
                raise KeeperFault(f"nobody answers {message.word!r}")
            reply = await answerer(message.value, message.data)
            await self._roomy.wait()
            self._reply(message.number, reply)
        except asyncio.CancelledError:
            if reply is not None:
                reply.close()
        except Exception as error:  # the outermost place of a question from another process: it must hear of the end
            answer = error_json(error)
            if answer[0] == KeeperFault.__name__:
                _LOG.exception("bug", question=message.word)
            if not self.closed:
                self._send(Message(What.FAILED, message.number, "", answer))

    def _answered(self, number: int, _: asyncio.Task[None]) -> None:
        """Also of a question that was taken back before its answer had begun: such a task never runs."""
        self._tasks.pop(number, None)
        if self._paused and not self.closed and len(self._tasks) < MOST_TASKS // 2:
            self._paused = False
            self._loop.add_reader(self._socket.fileno(), self._readable)

    def _reply(self, number: int, reply: Reply) -> None:
        if self.closed:
            reply.close()
            return
        self._send(Message(What.DONE, number, "", reply.value, reply.data, reply.descriptors))
        reply.descriptors = ()  # the queue owns them now

    def _lost(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for descriptor in (*self._frames.left(), *(one for _, own in self._out for one in own)):
            os.close(descriptor)
        self._out.clear()
        self._roomy.set()
        for future, _ in self._open.values():
            if not future.done():
                future.set_exception(LedgerDown(GONE))
        for task in self._tasks.values():
            task.cancel()
        self._on_lost()


def _received(peer: socket.socket) -> tuple[bytes, list[int]]:
    """Some bytes and the descriptors that came with them, which no child inherits."""
    space = socket.CMSG_SPACE(_AT_ONCE * MOST_DESCRIPTORS)
    piece, rights, _, _ = peer.recvmsg(_PIECE, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = array("i")
    for level, kind, data in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return piece, list(descriptors)
