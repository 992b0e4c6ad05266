"""Errors that a user can act on: each message says what, where and the remedy.

The command line turns every `PathoprogError` into one line on stderr and exit code 2; anything else is a defect and
keeps its traceback.
"""


class PathoprogError(Exception):
    """Base of all errors that the user can act on."""


class ConfigError(PathoprogError):
    """A setting is missing, misspelt or out of range. The message names its full key."""


class InputError(PathoprogError):
    """A file or table given by the user is absent or not what it should be."""


class DivergedError(PathoprogError):
    """Training came to a loss, gradient or risk that is not finite; the same seed, settings and data do so again."""


class SlideError(PathoprogError):
    """A slide cannot be used. In a batch this is one row with its reason, never the end of the batch.

    Attributes:
        code: short machine-readable reason, for example ``mpp_missing`` or ``unreadable``.
        not_reportable: True where the slide was read well but cannot be judged (no 40x, too little tumour);
            False where reading it failed.
    """

    def __init__(self, message: str, code: str = "unreadable", not_reportable: bool = False):
        super().__init__(message)
        self.code = code
        self.not_reportable = not_reportable

    def __reduce__(self) -> tuple[type, tuple[str, str, bool]]:
        """Survive the way through a process queue."""
        return type(self), (str(self), self.code, self.not_reportable)


class CohortError(PathoprogError):
    """A cohort or outcome table breaks its rules; the message lists the offending rows."""


class BundleError(PathoprogError):
    """A bundle is incomplete, altered or of an unknown format."""


class LockError(PathoprogError):
    """Something that was locked has changed, or would be overwritten."""
