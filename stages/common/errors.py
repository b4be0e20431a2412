"""The mistakes a user can mend. The command line shows each as one line and exits with its `status`."""


class ConvoyError(Exception):
    """Base of every error whose message is meant for the user: what, where, and what is allowed.

    `status` is the command's exit status: EX_TEMPFAIL (75) where the same may work in a while, else 1.
    """

    status = 1


class ParamsError(ConvoyError):
    """A value or key in the params is not allowed."""


class SourceError(ConvoyError):
    """The images cannot be taken from the source as it stands."""


class ImageError(ConvoyError):
    """One file is not an image that can be used; the message is the reason, without the name."""


class DamagedError(ImageError):
    """A decoder has to guess pixels of an image: it is cut off, overwritten or has a wrong checksum."""


class StoreError(ConvoyError):
    """A stage's input file is missing, foreign or not what the params say it is."""


class LearnerError(ConvoyError):
    """A member cannot be fitted or loaded as its params ask."""


class ServingError(ConvoyError):
    """A model cannot be put together, loaded, exported or promoted."""
