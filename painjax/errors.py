"""Ends that are no faults of the program: the command line prints their text and no traceback."""


class UserError(Exception):
    """A mistake in what the program was given (a flag, a path, a file), with one paragraph that says what to do.

    The text names the thing, the value found, what was expected, and the next step.
    """


class Stopped(Exception):
    """A training was told to stop (SIGTERM), and has saved: the same command goes on with it."""
