"""Coordinators on loopback, each on a free port; all are stopped at the end of the test."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from ringback import CallHandler, CallSession, SessionControl, SessionCoordinator, SessionManagerBuilder


class Systems:
    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Systems":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @staticmethod
    def builder(name: str, handler: CallHandler | None = None) -> SessionManagerBuilder:
        builder = SessionManagerBuilder().with_local_address(f"sip:{name}@127.0.0.1").with_sip_port(0)
        return builder if handler is None else builder.with_handler(handler)

    async def start(
        self,
        name: str,
        handler: CallHandler | None = None,
        configure: Callable[[SessionManagerBuilder], object] = lambda builder: None,
    ) -> SessionCoordinator:
        """Builds and starts one; `configure` gets its builder."""
        builder = self.builder(name, handler)
        configure(builder)
        return await self.run(builder)

    async def run(self, builder: SessionManagerBuilder) -> SessionCoordinator:
        """Builds and starts what the test has set up itself."""
        coordinator = await builder.build()
        await SessionControl.start(coordinator)
        self._stack.push_async_callback(SessionControl.stop, coordinator)
        return coordinator

    async def call(self, caller: SessionCoordinator, called: SessionCoordinator, **keywords: object) -> CallSession:
        """A call from one to the other, not yet answered."""
        return await SessionControl.create_outgoing_call(
            caller,
            caller.local_address,
            called.local_address,
            **keywords,  # type: ignore[arg-type]
        )

    async def answered(self, caller: SessionCoordinator, called: SessionCoordinator) -> CallSession:
        call = await self.call(caller, called)
        await call.wait_for_answer(5)
        return call
