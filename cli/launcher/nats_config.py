"""The configuration file of the NATS server."""

from __future__ import annotations

import json

from cli.home import Home, write_whole
from cli.ports import LOOPBACK


def nats_config(home: Home, port: int) -> str:
    """Return the file's text.

    Every write reaches the disk before it is acknowledged: an event is published only once.

    Args:
        home: Its `nats` folder holds the streams.
        port: To listen on, on loopback only.
    """
    store = json.dumps(str(home.root / "nats"))  # NATS reads JSON strings, escapes included.
    return (
        f'host: "{LOOPBACK}"\n'
        f"port: {port}\n"
        'server_name: "attune"\n'
        "jetstream {\n"
        f"  store_dir: {store}\n"
        "  sync_interval: always\n"
        "}\n"
    )


def write_nats_config(home: Home, port: int) -> None:
    """Write the file that `process_plan` names."""
    write_whole(home.root / "nats.conf", nats_config(home, port))
