"""The files of a run folder except its checkpoints; each is created by one rename."""

import contextlib
import fcntl
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelzoo.fields.errors import UserError
from modelzoo.fields.json_text import to_json


def write_text(path: Path, text: str) -> None:
    """Writes a file, completely or not at all; raises UserError if the write fails."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes; see `write_text`."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise write_error(path, error.strerror) from None


def sync(folder: Path) -> None:
    """Makes renames in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error(path: Path, reason: str | None) -> UserError:
    """Returns the error for a file that cannot be written."""
    return UserError(f"cannot write {path}: {reason}; free disk space and run the command again")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, completely or not at all; lists of numbers stay on one line."""
    text = to_json(value, indent=2)
    text = re.sub(r"\[\n([-+.\deE,\s]+)\n\s*\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON; raises UserError if the file is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a run folder: it has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def fold_folder(workdir: Path, number: int) -> Path:
    """Returns the folder of a fold in the folder of a cross-validation."""
    return workdir / f"fold{number}"


def check_no_folds(workdir: Path) -> None:
    """Raises UserError for the folder of a cross-validation, which contains runs but is none."""
    if fold_folder(workdir, 1).is_dir():
        raise UserError(
            f"{workdir} holds the folds of a cross-validation: use the folder of one, such as "
            f"{shlex.quote(str(fold_folder(workdir, 1)))}, or continue training with --folds"
        )


@contextlib.contextmanager
def ensure_workdir(workdir: str | Path) -> Iterator[Path]:
    """Creates the folder of a run inside the block; removes it again if it stays empty.

    Raises:
        UserError: the path is a file or cannot be written.
    """
    path = Path(workdir).expanduser()
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        _create(path, workdir)
        yield path
    finally:
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()


def _create(path: Path, workdir: str | Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"--workdir={workdir} is a file or lies beneath one: use a folder"
        ) from None
    except OSError as error:
        raise UserError(f"--workdir={workdir} cannot be written: {error.strerror}") from None


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Locks a folder for training until the block or this process ends.

    Raises:
        UserError: another process trains in the folder.
    """
    path = workdir / ".lock"
    with contextlib.ExitStack() as stack:
        locked = False
        while not locked:
            file = stack.enter_context(open(path, "a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise UserError(
                    f"process {file.read()} already trains in {workdir}: wait for it, or use "
                    "another --workdir"
                ) from None
            except OSError:
                # The file system does not support locks; training works without.
                break
            # The last process with the lock may have deleted the file since it was opened.
            with contextlib.suppress(FileNotFoundError):
                locked = os.path.samestat(os.fstat(file.fileno()), path.stat())
        stack.callback(path.unlink, missing_ok=True)
        # On a full disk, the lock works without the process number.
        with contextlib.suppress(OSError):
            os.truncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line, with `step` and `kind` ("train" or "eval").

    At the start, it deletes incomplete lines and records after `step`.
    """

    def __init__(self, workdir: Path, step: int):
        self.path = workdir / "metrics.jsonl"
        if self.path.exists():
            lines = [
                json.dumps(record) for record in read_records(workdir) if record["step"] <= step
            ]
            write_text(self.path, "".join(line + "\n" for line in lines))
        self._file = open(self.path, "a")  # noqa: SIM115 (closed by close)

    def write(self, step: int, kind: str, **values: Any) -> None:
        """Appends one record; raises UserError if the write fails."""
        try:
            self._file.write(to_json({"step": step, "kind": kind, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise write_error(self.path, error.strerror) from None

    def close(self) -> None:
        """Closes the file."""
        try:
            self._file.close()
        except OSError:
            # `write` has already reported the error.
            return


def read_records(workdir: str | Path) -> Iterator[dict[str, Any]]:
    """Reads the records of a run's `metrics.jsonl`, without incomplete lines."""
    with open(Path(workdir) / "metrics.jsonl", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                yield record
