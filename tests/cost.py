"""What something costs, to be compared with what something else does in the same run: machines differ, ratios do not."""

import time
from collections.abc import Callable


def cpu_seconds(call: Callable[[], object]) -> float:
    """Return the CPU time, in seconds, that this process takes for ``call``."""
    began = time.process_time()
    call()
    return time.process_time() - began
