"""Work that is worth doing only while its client is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Receive


class ClientGone(Exception):
    """The client went away before its answer was complete."""


@asynccontextmanager
async def while_there(receive: Receive) -> AsyncIterator[None]:
    """Run the block while the client is there, and cancel it when the client goes away.

    One task watches for the whole request; a task for every piece of a stream would cost more than
    the piece.

    Args:
        receive: Of the request, whose body was read.

    Raises:
        ClientGone: If it went away.
    """
    working = asyncio.current_task()
    assert working is not None
    cancelled_before = working.cancelling()
    is_gone = False

    async def watch() -> None:
        nonlocal is_gone
        while (await receive())["type"] != "http.disconnect":
            continue
        is_gone = True
        working.cancel()

    watching = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        # Whoever cancels from outside besides must have their way.
        if is_gone and working.uncancel() <= cancelled_before:
            raise ClientGone from None
        raise
    finally:
        watching.cancel()
