"""What a service does not need is not in its memory."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("service", ["workflows", "scheduler", "runner"])
def test_a_service_is_without_rich_which_a_plugin_may_still_import(service):
    program = f"import sys, apps.{service}.app; print('structlog' in sys.modules, 'rich' in sys.modules); import rich.text"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("service", ["workflows", "scheduler", "runner"])
def test_what_decompresses_is_loaded_with_the_first_record_that_needs_it(service):
    program = f"""if True:
        import sys, apps.{service}.app
        from aiokafka import codec
        is_loaded = lambda: any(name.startswith("cramjam.") for name in sys.modules)
        print(is_loaded())
        for kind in ("snappy", "lz4", "zstd"):
            compressed = getattr(codec, kind + "_encode")(b"hello")
            print(getattr(codec, kind + "_decode")(compressed).decode())
        print(is_loaded())
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "hello", "hello", "hello", "True"]
