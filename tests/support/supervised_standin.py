"""A supervisor over stand-in children, as a program: ``supervised_standin.py DATA_DIR PLAN``.

PLAN is JSON: ``stages`` is a list of lists of children, each with a ``name``, its Python ``code``
and perhaps ``stop_seconds``; ``leash`` and ``valkey`` say what else to use. A child becomes ready
by creating the file that the variable ``READY`` names.
"""

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from app.core.config import Settings
from app.core.errors import AppError, ConfigurationError
from app.core.logging import configure_logging
from app.supervisor.children import ChildSpec
from app.supervisor.data_dir import hold_data_dir
from app.supervisor.leash import WatcherLeash, new_leash
from app.supervisor.restarts import RestartPolicy
from app.supervisor.supervisor import Supervisor
from app.supervisor.valkey import EmbeddedValkey, find_bundled_binary, find_server_binary


def child_spec(data_dir: Path, name: str, code: str, stop_seconds: float = 5.0) -> ChildSpec:
    ready_file = data_dir / f"{name}.ready"
    return ChildSpec(
        name=name,
        command=(sys.executable, "-I", "-S", "-c", code),
        is_ready=ready_file.exists,
        environment={**os.environ, "READY": str(ready_file)},
        stop_seconds=stop_seconds,
        before_start=lambda: ready_file.unlink(missing_ok=True),
    )


def say(**line: str) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(path: Path, plan: dict[str, object]) -> int:
    configure_logging(Settings(_env_file=None, log_format="json"), process="supervisor")
    stages = plan.get("stages", [])
    assert isinstance(stages, list)
    leash = WatcherLeash() if plan.get("leash") == "watcher" else new_leash()
    policy = RestartPolicy(first_delay=0.02, max_delay=0.1)
    with ExitStack() as stack:
        data_dir = stack.enter_context(hold_data_dir(path))
        valkey = None
        if plan.get("valkey"):
            valkey = stack.enter_context(
                EmbeddedValkey(data_dir, find_server_binary(find_bundled_binary()))
            )
        supervisor = stack.enter_context(Supervisor(policy=policy, leash=leash))
        if valkey is not None:
            supervisor.start([valkey.spec(os.environ)])
            if not supervisor.wait_until_ready():
                return 0
            valkey.announce()
        for stage in stages:
            supervisor.start([child_spec(data_dir, **child) for child in stage])
            if not supervisor.wait_until_ready():
                return 0
        say(event="all_ready")
        supervisor.run()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
    except AppError as error:
        say(event="failed", message=error.message)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)
