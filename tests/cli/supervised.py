"""A supervisor of dummy processes: `python supervised.py HOME`, the plan in HOME/plan.json."""

import asyncio
import json
import os
import sys
from pathlib import Path

from cli.home import Home
from cli.launcher import restart, supervisor, teardown
from cli.launcher.process_plan import PlannedProcess
from services.common.processes import ProcessFolder


def plan(home: Home) -> list[PlannedProcess]:
    """Return what the plan file says now."""
    return [
        PlannedProcess(name, tuple(command), os.environ, "nowhere")
        for name, command in json.loads((home.root / "plan.json").read_text()).items()
    ]


if __name__ == "__main__":
    # Nothing here is worth waiting for.
    restart.FIRST_DELAY_S = 0.01
    supervisor.GRACE_S = teardown.GRACE_S = 1.0
    here = Home(Path(sys.argv[1]))
    ProcessFolder(here.root).record_self(teardown.SUPERVISOR)
    asyncio.run(supervisor.Supervisor(here, lambda: plan(here)).run())
