"""What a service does not need is not in its memory."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("service", ["workflows", "scheduler", "runner"])
def test_a_service_is_without_rich_which_a_plugin_may_still_import(service):
    program = f"import sys, apps.{service}.app; print('structlog' in sys.modules, 'rich' in sys.modules); import rich.text"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
