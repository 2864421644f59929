"""The one error a person can put right."""


class InputError(ValueError):
    """Something given from outside is wrong: the message names the file, the row and the way out, in one line."""
