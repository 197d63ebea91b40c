"""What a command leaves out of its output is what a failed save prints beside raising it, and nothing else."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# As TensorStore's threads do, an object calls back into a loop that has been closed, where nobody can catch it.
PROGRAM = """
import asyncio, logging
from painjax import own_lines

own_lines.show()
logging.getLogger("asyncio").error("Task exception was never retrieved: /lib/orbax/checkpoint/serialization.py")
logging.getLogger("asyncio").error("somebody else's")

class CallsBack:
    def __init__(self, function):
        self.function = function

    def __del__(self):
        self.function()

def fail():
    raise RuntimeError("another fault")

loop = asyncio.new_event_loop()
loop.close()
CallsBack(lambda: loop.call_soon_threadsafe(print))
CallsBack(fail)
"""


def test_what_a_failed_save_leaves_behind_is_not_shown():
    """Tracebacks of threads, long after the sentence that says what happened."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "orbax" not in done.stderr and "somebody else's" in done.stderr
    assert "Event loop" not in done.stderr and done.stderr.count("Traceback") == 1 and "another fault" in done.stderr
