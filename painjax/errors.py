"""The one exception that means 'the user can mend this': the command line prints its text and no traceback."""


class UserError(Exception):
    """A mistake in what the program was given (a flag, a path, a file), with one paragraph that says what to do.

    The text names the thing, the value found, what was expected, and the next step.
    """
