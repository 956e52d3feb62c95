"""What the user can mend."""

import errno

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
"""Of ``OSError.errno``: no room, or no permission, on this machine's disk."""


class UserError(Exception):
    """A mistake in the user's input or set-up.

    The message says what was wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2.
    """
