"""What SkyServe says of service and pool files, as `sky serve up` would up to asking clouds.

Reads {"path": text} as JSON from standard input; writes {"path": null when accepted, else words; "?..." when it cannot be told here}.
"""
import json
import os
import sys

os.environ.setdefault("SKYPILOT_DISABLE_USAGE_COLLECTION", "1")
answers, sys.stdout = sys.stdout, sys.stderr  # SkyPilot prints on its own account

from requests.exceptions import ConnectionError as Unreachable  # noqa: E402
from sky import task as task_lib  # noqa: E402
from sky.serve import serve_utils, spot_placer  # noqa: E402
from sky.utils import yaml_utils  # noqa: E402

possible_locations = spot_placer._get_possible_location_from_task


def without_catalogs(task):
    """The placer's rules come before it looks at clouds' catalogs, which may be out of reach."""
    try:
        return possible_locations(task)
    except Unreachable:
        return []


spot_placer._get_possible_location_from_task = without_catalogs


def judge(text):
    try:
        config = yaml_utils.safe_load(text)
        if not isinstance(config, dict):
            return "is not a group of fields"
        if config.get("service") is None and config.get("pool") is None:
            return "has neither service nor pool"
        envs = config.get("envs")
        missing = [name for name, value in envs.items() if value is None] if isinstance(envs, dict) else []
        task = task_lib.Task.from_yaml_config(config, env_overrides=[(name, "x") for name in missing])
        serve_utils.validate_service_task(task, pool=bool(task.service is not None and task.service.pool))
        return None
    except Unreachable:
        return "? a catalog is out of reach"
    except AssertionError:
        return "? SkyPilot trips over itself"
    except Exception as error:  # whatever it is, SkyServe does not take the file
        return f"{type(error).__name__}: {error}"[:400]


json.dump({path: judge(text) for path, text in json.load(sys.stdin).items()}, answers)
