"""One process of `painjax launch local`: the command `painjax`, which does not outlive its launcher.

The launcher holds the only writing end of the pipe that is this process's stdin. However the launcher ends, by kill -9
too, the pipe then ends, and with it this process and the workers that it has started.
"""

import os
import runpy
import signal
import sys
import threading


def _follow_launcher() -> None:
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: returns when the launcher is gone
    os.killpg(os.getpgrp(), signal.SIGKILL)  # the launcher has made this process the leader of a group of its own


if __name__ == "__main__":
    threading.Thread(target=_follow_launcher, daemon=True).start()
    runpy.run_module("painjax", run_name="__main__", alter_sys=True)
