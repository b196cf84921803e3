"""The files of a run folder besides its checkpoints; each appears by one rename."""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelzoo.fields.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Writes a file, entirely or not at all; raises UserError if the disk refuses."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Like `write_text`, for bytes."""
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
        raise refused(path, error.strerror) from None


def sync(folder: Path) -> None:
    """Makes renames in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refused(path: Path, reason: str | None) -> UserError:
    """The error for a file that cannot be written."""
    return UserError(f"cannot write {path}: {reason}; make room and run the same command again")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON, entirely or not at all; lists of numbers stay on one line."""
    text = json.dumps(value, indent=2, allow_nan=False)
    text = re.sub(r"\[\n([-+.\deE,\s]+)\n\s*\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON; raises UserError if it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a run folder: it has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def fold(workdir: Path, number: int) -> Path:
    """The folder of a fold's run in that of a cross-validation."""
    return workdir / f"fold{number}"


def check_no_folds(workdir: Path) -> None:
    """Raises UserError for the folder of a cross-validation, which holds runs but is not one."""
    if fold(workdir, 1).is_dir():
        raise UserError(
            f"{workdir} holds the folds of a cross-validation: use the folder of one, such as "
            f"{fold(workdir, 1)}, or continue training with --folds"
        )


@contextlib.contextmanager
def ensure_workdir(workdir: str | Path) -> Iterator[Path]:
    """The folder of a run, created if it is missing; one that stays empty is removed again.

    Raises:
        UserError: the path is a file, or cannot be written.
    """
    path = Path(workdir).expanduser()
    absent = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        _make(path, workdir)
        yield path
    finally:
        with contextlib.suppress(OSError):
            for folder in absent:
                folder.rmdir()


def _make(path: Path, workdir: str | Path) -> None:
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
    """Keeps other processes from training in a folder until the block or this process ends.

    Raises:
        UserError: another process trains there.
    """
    path = workdir / ".lock"
    with contextlib.ExitStack() as stack:
        mine = False
        while not mine:
            file = stack.enter_context(open(path, "a+"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise UserError(
                    f"process {file.read()} already trains in {workdir}: wait for its end, or use "
                    "another --workdir"
                ) from None
            except OSError:
                # A file system without locks excludes nobody; training works all the same.
                break
            # The last holder of the lock may have deleted the file that was opened here.
            with contextlib.suppress(FileNotFoundError):
                mine = os.path.samestat(os.fstat(file.fileno()), path.stat())
        stack.callback(path.unlink, missing_ok=True)
        # On a full disk the lock works without the process number.
        with contextlib.suppress(OSError):
            os.truncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line, with `step` and `kind` ("train" or "eval").

    Opened after a restore at `step`, it first drops incomplete lines and those after that step.
    """

    def __init__(self, workdir: Path, step: int):
        self.path = workdir / "metrics.jsonl"
        if self.path.exists():
            kept = [json.dumps(record) for record in records(workdir) if record["step"] <= step]
            write_text(self.path, "".join(line + "\n" for line in kept))
        self._file = open(self.path, "a")  # noqa: SIM115 (closed by close)

    def write(self, step: int, kind: str, **values: Any) -> None:
        """Appends one record; raises UserError if the disk refuses."""
        try:
            self._file.write(
                json.dumps({"step": step, "kind": kind, **values}, allow_nan=False) + "\n"
            )
            self._file.flush()
        except OSError as error:
            raise refused(self.path, error.strerror) from None

    def close(self) -> None:
        """Closes the file."""
        try:
            self._file.close()
        except OSError:
            # A failed write was reported already.
            return


def records(workdir: str | Path) -> Iterator[dict[str, Any]]:
    """The records of a run's `metrics.jsonl`, without incomplete lines."""
    with open(Path(workdir) / "metrics.jsonl", errors="replace") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and isinstance(record.get("step"), int):
                yield record
