"""Files of text in UTF-8: what is not text, their lines and their content."""

import codecs
import contextlib
import sys
from collections.abc import Iterator
from typing import BinaryIO

from modelzoo.data.columns import BadExample
from modelzoo.fields.errors import UserError

STDIN = "-"

_HEAD = 4096
_OTHERS = {
    b"\x1f\x8b": "gzip: decompress it",
    b"BZh91AY&SY": "bzip2: decompress it",
    b"\xfd7zXZ\0": "xz: decompress it",
    b"\x28\xb5\x2f\xfd": "Zstandard: decompress it",
    b"PK\x03\x04": "a zip file or an Excel workbook: unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save the sheet as CSV",
    b"PAR1\x15": "Parquet: write it as CSV or JSON lines",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
}
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # Begins as UTF-16 does.
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def check_text(path: str, file: BinaryIO) -> None:
    """Raises UserError if a file, open at its start, begins as UTF-16 or as no text at all."""
    if reason := other_format(file.peek(_HEAD)[:_HEAD]):  # type: ignore[attr-defined]
        raise UserError(f"{path} {reason}")


def other_format(head: bytes) -> str:
    """Why bytes do not begin a text in UTF-8, such as "is gzip: decompress it"; "" if they may."""
    for start, name in _OTHERS.items():
        if head.startswith(start):
            return f"is not text but {name}"
    found = next((name for mark, name in _MARKS.items() if head.startswith(mark)), _wide(head))
    if not found:
        return ""
    return f"is {found}, not UTF-8: convert it, such as by `iconv -f {found} -t UTF-8`"


def _wide(head: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: Latin letters have zeros at the same places."""
    counts = [head[k::4].count(0) for k in range(4)]
    every, zeros = len(head) // 4, sorted(counts)
    if every and 2 * zeros[1] > every:
        return "UTF-32BE" if counts[0] > counts[3] else "UTF-32LE"
    if every and 2 * zeros[2] > every > 8 * zeros[1]:
        return "UTF-16BE" if counts[0] > counts[1] else "UTF-16LE"
    return ""


def read_text_lines(path: str) -> Iterator[bytes | BadExample]:
    r"""The lines of a file, or a BadExample for one that is not UTF-8; "-" is the standard input.

    Lines end with a line feed, "\n" or "\r\n"; that of the last one is optional.

    Raises:
        OSError: the file cannot be read.
        UserError: it is no file of lines in UTF-8.
    """
    # Bytes, so that a line that is not UTF-8 harms no other.
    stdin = contextlib.nullcontext(sys.stdin.buffer)
    with stdin if path == STDIN else open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                if reason := other_format(line[:_HEAD]):
                    raise UserError(f"{path} {reason}")
                if not line.endswith(b"\n") and b"\r" in line.rstrip(b"\r"):
                    raise UserError(
                        f"{path} ends its lines with carriage returns alone: convert them to line "
                        "feeds, such as by `tr '\\r' '\\n'`"
                    )
            line = line.removesuffix(b"\n").rstrip(b"\r").removeprefix(codecs.BOM_UTF8)
            reason = not_utf8(line)
            yield BadExample(reason) if reason else line


def read_content(path: str) -> bytes | BadExample:
    """The bytes of a file, or a BadExample; "-" is the standard input."""
    try:
        if path == STDIN:
            return sys.stdin.buffer.read()
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        return BadExample(f"cannot be read ({error.strerror})")


def not_utf8(text: bytes | str) -> str:
    """Why a text cannot be used; a str has its other bytes escaped. "" if it can."""
    try:
        stored = text if isinstance(text, bytes) else text.encode()
        stored.decode()
    except UnicodeError:
        return "is not UTF-8"
    return "has a NUL byte" if b"\0" in stored else ""
