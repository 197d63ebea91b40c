"""Lines of several processes on one screen: whole, marked, and under at most one bar."""

import io
import threading

from painjax.launch.screen import Screen


class Terminal(io.StringIO):
    def isatty(self):
        return True


BAR = "run:  50%|█████     | 2/4 [00:01<00:01,  1.90step/s, loss=0.5]"


def show(text, terminal=False, rank=1, to_stdout=False):
    out, err = io.StringIO(), Terminal() if terminal else io.StringIO()
    screen = Screen(out, err)
    screen.copy(rank, io.BufferedReader(io.BytesIO(text.encode())), to_stdout)
    screen.close()
    return out.getvalue(), err.getvalue(), screen


def test_every_line_is_marked_and_goes_where_it_went():
    assert show("a\nb\n", to_stdout=True)[:2] == ("[1] a\n[1] b\n", "")
    assert show("a\n\nlast without end")[:2] == ("", "[1] a\n[1] last without end\n")


def test_chatter_of_gloo_is_left_out():
    said = " is connected to 1 peer ranks. Expected number of connected peer ranks is : 1"
    text = f"[Gloo] Rank 0{said}\nours\n[Gloo] Rank 1[Gloo] Rank 0{said}\n{said}\n"
    assert show(text, to_stdout=True)[0] == "[1] ours\n"


def test_a_bar_in_a_file_is_lines_and_a_log_line_after_it_starts_anew():
    _, err, screen = show(f"\r{BAR}\r{BAR}I1122 saved\nnext\n")
    assert err == f"[1] {BAR}\n[1] I1122 saved\n[1] next\n"
    assert screen.last_lines(1) == ["I1122 saved", "next"]  # without bars


def test_a_bar_on_a_terminal_stays_below_the_lines():
    _, err, _ = show(f"\r{BAR}\rhello\n", terminal=True)
    assert err == f"\r\x1b[K[1] {BAR}\r\x1b[K[1] hello\n[1] {BAR}\n"


def test_lines_of_many_processes_are_not_torn():
    out = io.StringIO()
    screen = Screen(out, io.StringIO())
    texts = [f"{'x' * 200}{rank}\n" * 300 for rank in range(4)]
    threads = [
        threading.Thread(target=screen.copy, args=(rank, io.BufferedReader(io.BytesIO(text.encode()), 64), True))
        for rank, text in enumerate(texts)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = out.getvalue().splitlines()
    assert len(lines) == 1200
    assert all(line == f"[{line[1]}] {'x' * 200}{line[1]}" for line in lines)
    assert len(screen.last_lines(0)) == 15
