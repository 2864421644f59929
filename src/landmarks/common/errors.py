"""The error that a user can fix."""


class InputError(ValueError):
    """An input is wrong: the message names the file, the row and the remedy, in one line."""
