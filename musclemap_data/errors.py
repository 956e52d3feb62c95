"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake in the user's input or set-up.

    The message says what was wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2.
    """
