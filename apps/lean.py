"""Imports structlog without rich, which would take three megabytes of each service.

structlog imports it wherever it is installed, to draw tracebacks in colour. Services write plain ones (:mod:`apps.logs`); it
is the command line that needs it. To be imported before anything else that imports structlog.
"""

import sys

if not {"rich", "structlog"} & sys.modules.keys():
    sys.modules["rich"] = None  # type: ignore[assignment]  # to Python that means: there is none
    import structlog  # noqa: F401

    del sys.modules["rich"]
