"""Work of a `BindingStore` that the program brought along: one task for each piece."""
# pyright: reportPrivateUsage=false

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ringback import _ringback
from ringback.registrar import FlowBindingStore

if TYPE_CHECKING:
    from ringback.coordinator import SessionCoordinator
    from ringback.registrar import Binding, BindingStore

logger = logging.getLogger("ringback.registrar")

# A store that hangs must not keep an address of record for ever.
LONGEST = 10.0

Gone = tuple[str, tuple[str, int] | None]
"""A contact, and instance and reg-id where it is a flow."""

Work = tuple[list["Binding"], list[Gone], bool]
"""What is saved, what is deleted, and whether all are."""


def begin(coordinator: "SessionCoordinator", request: int, aor: str, work: Work | None) -> None:
    """Has the store do it; None: find what is bound. Called from the drain, on the loop."""
    registrar = coordinator._registrar
    store = None if registrar is None else registrar._store
    if store is None or isinstance(store, str):
        _ringback.stored(coordinator, request, "there is no store", [])
        return
    loop = asyncio.get_running_loop()
    task = loop.create_task(_carry_out(coordinator, store, request, aor, work), name="ringback store")
    coordinator._store_tasks.add(task)
    task.add_done_callback(coordinator._store_tasks.discard)


async def _carry_out(
    coordinator: "SessionCoordinator", store: "BindingStore", request: int, aor: str, work: Work | None
) -> None:
    error: str | None = "the work was cancelled"
    found: Sequence[Binding] = []
    try:
        async with asyncio.timeout(LONGEST):
            if work is None:
                found = list(await store.find(aor))
            else:
                await _write(store, aor, work)
        error = None
    except Exception as failure:
        error = f"{type(failure).__name__}: {failure}"
        logger.exception("the binding store failed for %s", aor)
    finally:
        _ringback.stored(coordinator, request, error, found)


async def _write(store: "BindingStore", aor: str, work: Work) -> None:
    saved, deleted, everything = work
    # What is new first: a failure in between leaves a contact too many, not one too few.
    for binding in saved:
        await store.save(binding)
    if everything:
        await store.delete(aor, None)
        return
    if isinstance(store, FlowBindingStore):
        flows = {(binding.instance, binding.reg_id) for binding in saved}
        for contact, flow in deleted:
            if flow is None:
                await store.delete(aor, contact)
            elif flow not in flows:
                await store.delete_flow(aor, *flow)
        return
    # One that knows contacts alone has put what is new in the place of a flow with the same one.
    contacts = {binding.contact for binding in saved}
    for contact, _ in deleted:
        if contact not in contacts:
            await store.delete(aor, contact)
