"""Import of TensorFlow without the log lines of its start."""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Imports TensorFlow quietly; TF_CPP_MIN_LOG_LEVEL=0 shows the log lines of its start."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0" or "tensorflow" in sys.modules:
        return
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # The shared libraries write before they read the variable, so redirect the descriptor.
    with _stderr_unless_it_fails():
        importlib.import_module("tensorflow")


@contextlib.contextmanager
def _stderr_unless_it_fails() -> Iterator[None]:
    """Captures descriptor 2, and writes out what was captured if the body raises."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
