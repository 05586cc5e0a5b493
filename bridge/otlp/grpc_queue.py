"""OTLP/gRPC on grpc core's own completion queue, polled by the event loop; the only place that meets `cygrpc`.

    epoll of grpc core is readable (or a tick) -> drain: one event a tag -> the tag is called with it
    call comes in -> task: answer() -> [message is asked for -> event] -> status is sent -> event

grpc.aio costs about six times as much a call (docs/performance.md). `grpc._cython.cygrpc` is a private API: grpcio is
pinned, `grpc_aio.py` is the engine to fall back to (`receive.grpc_engine`), and all tests of the listeners run on both.
One thread, one loop: nothing here waits in another thread. A batch of operations is never used twice.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # has no types

from bridge.errors import BridgeError
from bridge.otlp.grpc import METHODS, answer, credentials, options, refused_with
from bridge.otlp.receiver import Receiver, log_bug
from bridge.settings_receive import Tls

# Calls that core may hand over before it has been asked again.
ACCEPTING: Final = 16
# Events taken in one turn of the loop, so that others get theirs.
TURN_EVENTS: Final = 64
# Core also has threads whose events do not make its epoll readable. So often they are looked for.
BUSY_TICK_SECONDS: Final = 0.003
IDLE_TICK_SECONDS: Final = 0.025
_NO_FLAGS: Final = 0
_SERVED: Final = {method.encode(): signal for method, signal in METHODS.items()}


@asynccontextmanager
async def open_grpc_queue(
    address: str, tls: Tls | None, receiver: Receiver, grace_seconds: float
) -> AsyncIterator[int]:
    """Serve until the block is left, then let calls under way finish for `grace_seconds`. Yields the port bound."""
    polls_before = _epolls()
    queue = _Queue()
    arguments = tuple((name.encode(), value) for name, value in options(receiver))
    server = cygrpc.Server(arguments, False)
    server.register_completion_queue(queue.core)
    made = credentials(tls)._credentials if tls else None  # type: ignore[attr-defined]
    port = server.add_http2_port(address.encode(), made) if made else server.add_http2_port(address.encode())
    if port == 0:
        server.destroy()
        raise OSError(f"receive.grpc_listen: {address} cannot be bound")
    server.start()
    serving = _Serving(server, queue, receiver)
    queue.watch(_epolls() - polls_before, serving.is_busy)
    try:
        serving.accept(ACCEPTING)
        yield port
    finally:
        await serving.stop(grace_seconds)


def _epolls() -> set[int]:
    """The epoll descriptors of this process (Linux)."""
    found = set()
    with suppress(OSError):
        for path in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if "eventpoll" in str(path.readlink()):
                    found.add(int(path.name))
    return found


class _Queue:
    """The completion queue. Tags are functions, called with their event."""

    def __init__(self) -> None:
        self.core = cygrpc.CompletionQueue()
        self._loop = asyncio.get_running_loop()
        self._watched: set[int] = set()
        self._is_busy: Callable[[], bool] = lambda: False
        self._tick: asyncio.TimerHandle | None = None
        self._is_closed = False

    def watch(self, descriptors: set[int], is_busy: Callable[[], bool]) -> None:
        """Drain whenever one of these is readable, and now and then."""
        self._watched, self._is_busy = descriptors, is_busy
        for descriptor in descriptors:
            self._loop.add_reader(descriptor, self.drain)
        self._again()

    def _again(self) -> None:
        seconds = BUSY_TICK_SECONDS if self._is_busy() else IDLE_TICK_SECONDS
        self._tick = self._loop.call_later(seconds, self._on_tick)

    def _on_tick(self) -> None:
        self.drain()
        if not self._is_closed:
            self._again()

    def drain(self) -> None:
        """Call the tags of the events that are there."""
        for _ in range(TURN_EVENTS):
            if self._is_closed:
                return
            event = self.core.poll(deadline=0)
            if event.completion_type == cygrpc.CompletionType.queue_timeout:
                return
            event.tag(event)
        self._loop.call_soon(self.drain)

    def close(self) -> None:
        self._is_closed = True
        for descriptor in self._watched:
            self._loop.remove_reader(descriptor)
        if self._tick is not None:
            self._tick.cancel()
        self.core.shutdown()
        while self.core.poll().completion_type != cygrpc.CompletionType.queue_shutdown:
            pass


class _Serving:
    """The server's calls: one task each."""

    def __init__(self, server: Any, queue: _Queue, receiver: Receiver) -> None:
        self._server, self._queue, self._receiver = server, queue, receiver
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    def is_busy(self) -> bool:
        return bool(self._tasks)

    def accept(self, calls: int = 1) -> None:
        for _ in range(calls):
            self._server.request_call(self._queue.core, self._queue.core, self._on_call)

    def _on_call(self, event: Any) -> None:
        if not self._is_stopping:
            self.accept()
        if not event.success:
            return
        task = asyncio.create_task(self._serve(_QueueCall(event)), name="grpc call")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, call: "_QueueCall") -> None:
        try:
            signal = _SERVED.get(call.method)
            if signal is None:
                await call.end(cygrpc.StatusCode.unimplemented, "OTLP has Export of traces and of logs here")
                return
            found = await answer(self._receiver, signal, call)
            if isinstance(found, BridgeError):
                code, text, trailing = refused_with(found)
                await call.end(code.value[0], text, trailing)
            else:
                await call.end(cygrpc.StatusCode.ok, "", message=found)
        except Exception as bug:
            log_bug(bug)

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls, wait for those under way, then break them off."""
        self._is_stopping = True
        ended = asyncio.Event()
        self._server.shutdown(self._queue.core, lambda _: ended.set())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        self._server.cancel_all_calls()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await ended.wait()
        self._server.destroy()
        self._queue.close()


class _QueueCall:
    """A `Call` that answers for itself."""

    def __init__(self, event: Any) -> None:
        self._core, self._metadata = event.call, event.invocation_metadata
        self.method: bytes = event.call_details.method

    def metadata(self) -> Any:
        return self._metadata

    def peer_uris(self) -> tuple[str, ...]:
        names = cygrpc.auth_context(self._core).get(b"peer_uri", ())
        return tuple(name.decode(errors="replace") for name in names)

    async def read(self, timeout_seconds: float) -> bytes | None:
        (received,) = await self._batch(cygrpc.ReceiveMessageOperation(_NO_FLAGS), timeout_seconds=timeout_seconds)
        body: bytes | None = received.message()
        return body

    async def end(
        self, code: int, text: str, trailing: tuple[tuple[str, bytes], ...] = (), message: bytes | None = None
    ) -> None:
        """Return when core has sent it, or has noticed that nobody is there."""
        operations = [
            cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),
            cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation(trailing, code, text.encode(), _NO_FLAGS),
        ]
        if message is not None:
            operations.insert(2, cygrpc.SendMessageOperation(message, _NO_FLAGS))
        await self._batch(*operations)

    async def _batch(self, *operations: Any, timeout_seconds: float | None = None) -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()

        def tell(event: Any) -> None:
            if not done.done():
                # not the event: it holds this function, which holds `done`, and the ring would hold the message
                done.set_result(event.batch_operations)

        self._core.start_server_batch(operations, tell)
        if timeout_seconds is None:
            return await done
        clock = loop.call_later(timeout_seconds, _too_late, done)  # a tenth of what asyncio.timeout costs
        try:
            return await done
        finally:
            clock.cancel()


def _too_late(done: "asyncio.Future[Any]") -> None:
    if not done.done():
        done.set_exception(TimeoutError())
