"""Whether a head is there, is asked at its door and nowhere else."""

import asyncio

import pytest

from services.trainer.engine import cluster_head
from services.trainer.engine.cluster_head import ClusterHead


async def a_head(port: int = 0) -> tuple[asyncio.Server, ClusterHead]:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
    number = server.sockets[0].getsockname()[1]
    return server, ClusterHead(f"127.0.0.1:{number}")


async def test_a_head_answers_while_somebody_listens():
    server, head = await a_head()
    assert await head.answers()
    server.close()
    assert not await head.answers()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379", "127.0.0.1:99999"])
async def test_an_address_without_anybody_is_an_answer_and_no_fault(address):
    assert not await ClusterHead(address).answers()


async def test_a_head_that_comes_back_in_time_is_not_lost(monkeypatch):
    monkeypatch.setattr(cluster_head, "LOOK_S", 0.01)
    monkeypatch.setattr(cluster_head, "AWAY_MAX_S", 0.5)
    server, head = await a_head()
    losing = asyncio.create_task(head.until_lost())
    server.close()
    await asyncio.sleep(0.05)
    server, _ = await a_head(int(head.address.rpartition(":")[2]))
    await asyncio.sleep(0.8)
    assert not losing.done()
    server.close()
    await losing
