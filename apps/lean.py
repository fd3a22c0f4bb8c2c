"""Keeps out of each service what takes three megabytes and is hardly ever asked for.

structlog imports rich wherever it is installed, to draw tracebacks in colour. Services write plain ones (:mod:`apps.logs`);
it is the command line that needs it. aiokafka imports cramjam, which reads records that were compressed by Snappy, LZ4 or
Zstandard: it is loaded with the first of these. To be imported before anything else that imports either.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


def _load_when_used(name: str) -> ModuleType:
    """Return what stands for a module until something of it is asked for."""
    stand_in = ModuleType(name)

    def load(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)  # inspect asks every module where its source is
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    stand_in.__getattr__ = load  # type: ignore[method-assign]
    return stand_in


if not {"rich", "structlog"} & sys.modules.keys():
    sys.modules["rich"] = None  # type: ignore[assignment]  # to Python that means: there is none
    import structlog  # noqa: F401

    del sys.modules["rich"]

if "cramjam" not in sys.modules:
    sys.modules["cramjam"] = _load_when_used("cramjam")
