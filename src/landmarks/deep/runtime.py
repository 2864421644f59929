"""TensorFlow and TensorFlow Hub, imported without the lines that TensorFlow writes to stderr at any log level."""

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Hide what C++ writes to stderr (file descriptor 2) meanwhile; after an error it is shown."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def without(package: str) -> Iterator[None]:
    """Let a package that is not loaded yet be missing meanwhile, for importers that can do without."""
    hidden: Any = {package: None}
    if package in sys.modules:
        yield
        return
    sys.modules.update(hidden)
    try:
        yield
    finally:
        del sys.modules[package]


# Keras would load pandas, a second and 65 MB, to know a DataFrame among what it is given: it is given none
with silent(), without("pandas"), warnings.catch_warnings():
    warnings.filterwarnings("ignore", "pkg_resources is deprecated")  # tensorflow-hub imports it; the lock pins it
    import tensorflow as tf
    import tensorflow_hub as hub
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

__all__ = ["convert_variables_to_constants_v2", "hub", "silent", "tf"]
