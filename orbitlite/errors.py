"""The one exception for mistakes that a user can correct."""

from orbitlite.terminal import one_line


class InputError(ValueError):
    """A mistake in a file, a path, a config or an argument.

    The message says what was expected, what was found and what to change, on one line and without
    signs that a terminal obeys. The command line prints it without a traceback; any other
    exception is a bug and keeps its traceback.

    Attributes
    ----------
    told : bool
        Another process of the run prints it.
    """

    told = False

    def __init__(self, message: str = "") -> None:
        if message.startswith("Caught "):
            # A process of a data loader hands on its traceback for a message: the end is ours.
            own = message.rpartition(f"\n{__name__}.")[2].partition(": ")[2]
            message = own.rstrip() or message
        super().__init__(one_line(message))


class AbsentError(InputError):
    """None of the channels that were asked for is in a source."""


class SharedError(InputError):
    """A mistake that every process of a run finds alike; the first one tells it."""
