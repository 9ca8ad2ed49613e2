"""The bytes of a table as UTF-8 text: unpacked within bounds, decoded, line ends made alike."""

from __future__ import annotations

import codecs
import zlib
from pathlib import Path

from ctbench_core.errors import ManifestError
from ctbench_core.tables.limits import most_bytes, most_values, raise_limit, refusal

_GZIP = b"\x1f\x8b"
_CHUNK = 2**20
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def refuse_large(path: Path, unpacked: int, packed: int) -> None:
    """Refuse to unpack more than `limits` allows.

    Raises:
        ManifestError: it is more.
    """
    if why := refusal(unpacked, packed):
        raise ManifestError(f"{path} {why}")


def refuse_many_values(path: Path, values: int) -> None:
    """Refuse a table of more values than `limits` allows: their texts alone would fill the memory.

    Raises:
        ManifestError: it has more.
    """
    most = most_values()
    if values > most:
        raise ManifestError(
            f"{path} has {values:,} values, above the limit of {most:,}. Split it, or leave columns out. "
            + raise_limit(most_bytes() * values // most)
        )


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file as they are stored.

    Raises:
        ManifestError: it is missing, unreadable or too large.
    """
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.csv"))[:8] if path.parent.is_dir() else []
        hint = f" That folder contains: {', '.join(near)}." if near else " Check its folder and its name."
        raise ManifestError(f"{path} does not exist.{hint}")
    try:
        refuse_large(path, path.stat().st_size, path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error}. Check its permissions.") from error


def to_utf8(path: Path, content: bytes) -> bytes:
    """Return the UTF-8 text of a file without its BOM; gzip is known by its content, lines end in ``\\n``.

    Raises:
        ManifestError: it does not unpack, or is not text in UTF-8 or in UTF-16 with a BOM.
    """
    if content.startswith(_GZIP):
        content = _gunzip(path, content)
    if content.startswith(b"PK\x03\x04"):
        raise ManifestError(
            f"{path} is a zip archive or an Excel workbook: unpack it, or save the sheet as CSV in UTF-8."
        )
    if content.startswith(_UTF_16):
        content = _decode(path, content, "utf-16").encode("utf-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    if (position := content.find(b"\0")) >= 0:
        raise ManifestError(
            f"{path} has a NUL byte on line {_line(content, position)}: it is damaged, or text in another encoding. "
            "Save it as CSV in UTF-8."
        )
    _decode(path, content, "utf-8")
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content


def _gunzip(path: Path, packed: bytes) -> bytes:
    """Unpack gzip, also of several members; stops as soon as what was unpacked is too much."""
    parts, size, rest = [], 0, packed
    try:
        while rest.startswith(_GZIP):
            stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            while not stream.eof:
                part = stream.decompress(rest, _CHUNK)
                if not part and not stream.unconsumed_tail and not stream.eof:
                    raise ManifestError(f"{path} is cut short: its gzip data have no end. Copy it again.")
                parts.append(part)
                size, rest = size + len(part), stream.unconsumed_tail
                refuse_large(path, size, len(packed) - len(rest))
            rest = stream.unused_data
    except zlib.error as error:
        raise ManifestError(f"{path} is damaged gzip data: {error}. Copy or save it again.") from error
    return b"".join(parts)


def _decode(path: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = _line(content, error.start) if encoding == "utf-8" else "unknown"
        raise ManifestError(
            f"{path} is not {encoding.upper()} text: byte {error.start}, line {line}. Save it as CSV in UTF-8 "
            "(in Excel: CSV UTF-8)."
        ) from error


def _line(content: bytes, position: int) -> int:
    before = content[:position]
    return 1 + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
