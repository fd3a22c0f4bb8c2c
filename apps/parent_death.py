"""Become another program that dies with the process that started it.

    python -I -S parent_death.py PARENT_PID PROGRAM ARGUMENT...

A supervisor killed with -9 cannot stop its children. Linux can be asked to: the mark set here survives the exec. It is
set in this small program, not in a `preexec_fn`, because running Python between fork and exec of a process with threads
may deadlock. It imports nothing of the project. Where the system has no such mark, it only becomes the program.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            # It died before the mark was set, so nobody would ever stop what would start here.
            sys.exit(1)
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()
