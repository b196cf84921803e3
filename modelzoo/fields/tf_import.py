"""Import of TensorFlow without its log lines."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Imports TensorFlow without its log lines; TF_CPP_MIN_LOG_LEVEL=0 shows them."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0" or "tensorflow" in sys.modules:
        return
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # The shared libraries write before they read the variable, so this redirects the descriptor.
    with _stderr_unless_it_fails():
        importlib.import_module("tensorflow")


@contextlib.contextmanager
def _stderr_unless_it_fails() -> Iterator[None]:
    """Discards the output of descriptor 2, unless the body raises."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception:
            captured.seek(0)
            os.write(stderr, captured.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
