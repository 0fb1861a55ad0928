"""The one exception that stands for a mistake a user can mend."""


class UserError(Exception):
    """A mistake that a user can mend.

    The message is complete by itself: what is wrong, where (file or key), what was expected and what to do.
    Entry points print it without a traceback and exit with a non-zero status.
    """
