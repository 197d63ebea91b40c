"""What several processes write, on one screen: each line with the rank that wrote it, and one progress bar."""

import io
import re
import threading
from collections import deque

# A bar as tqdm draws it, however the line goes on: a log line may follow where no new line was begun.
_BAR = re.compile(r"[^|]*\|[^|]*\| *\d+/\d+ \[[^\]]*\] *")
# What gloo says to stdout at every group of processes, from several threads, so that the pieces are mixed.
_NOISE = re.compile(r"\[Gloo\] Rank|is connected to \d+ peer ranks|connected peer ranks is : \d+")
_REMEMBERED_LINES = 15


class Screen:
    """Writes lines and a bar of many processes, from as many threads, so that no line is torn.

    On a terminal the bar is drawn in the last line, over and over; in a file each state of it is a line.
    """

    def __init__(self, out: io.TextIOBase, err: io.TextIOBase):
        self._out, self._err, self._terminal = out, err, err.isatty()
        self._bar = ""
        self._lock = threading.Lock()
        self._last: dict[tuple[int, bool], deque[str]] = {}

    def say(self, text: str) -> None:
        """A line of the launcher itself."""
        self._line(f"launch: {text}", self._err)

    def copy(self, rank: int, stream: io.BufferedReader, to_stdout: bool) -> None:
        """Shows what process `rank` writes, until it has closed `stream`."""
        last = self._last.setdefault((rank, to_stdout), deque(maxlen=_REMEMBERED_LINES))
        for line in _lines(stream):
            if bar := _BAR.match(line):
                self._draw(f"[{rank}] {bar.group().rstrip()}")
                line = line[bar.end() :]
            if not line or _NOISE.search(line):
                continue
            last.append(line)
            self._line(f"[{rank}] {line}", self._out if to_stdout else self._err)

    def last_lines(self, rank: int) -> list[str]:
        """The last lines of process `rank`, bars left out; those to stderr, which say why it failed, at the end."""
        return [line for to_stdout in (True, False) for line in self._last.get((rank, to_stdout), ())]

    def close(self) -> None:
        """Ends the line of the bar."""
        with self._lock:
            if self._bar and self._terminal:
                self._err.write("\n")
                self._err.flush()
            self._bar = ""

    def _draw(self, bar: str) -> None:
        with self._lock:
            if self._terminal:
                self._err.write(f"\r\x1b[K{bar}")
            elif bar != self._bar:
                self._err.write(f"{bar}\n")
            self._bar = bar
            self._err.flush()

    def _line(self, line: str, stream: io.TextIOBase) -> None:
        with self._lock:
            over = self._terminal and self._bar
            if over:
                self._err.write("\r\x1b[K")
                self._err.flush()
            stream.write(f"{line}\n")
            stream.flush()
            if over:
                self._err.write(self._bar)
                self._err.flush()


def _lines(stream: io.BufferedReader):
    """Text between ends of lines, of which a bar's carriage return is one; empty ones are left out."""
    rest = b""
    while piece := stream.read1(1 << 16):
        *whole, rest = re.split(rb"[\r\n]+", rest + piece)
        yield from (line.decode(errors="replace") for line in whole if line.strip())
    if rest.strip():
        yield rest.decode(errors="replace")
