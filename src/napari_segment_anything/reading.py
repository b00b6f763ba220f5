"""Reading and validation of input from outside.

Files must be regular files of limited size. JSON and TOML are validated against types by pydantic.
Names that become file names are checked, and compressed data is unpacked only up to the expected
size. Invalid input raises an error of this package that says where and why.
"""

from __future__ import annotations

import math
import os
import re
import stat
import tomllib
import zlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import FormatError, ParameterError, SegmentAnythingError
from .limits import CONFIGURATION_BYTES, Limit

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

ErrorType = type[SegmentAnythingError]

_NAME_LENGTH = 100
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+(::|://)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_RESERVED = {"con", "prn", "aux", "nul", *(f"{n}{i}" for n in ("com", "lpt") for i in range(10))}


def require_file(path: str | Path, what: str = "file", error: ErrorType = FormatError) -> Path:
    """Return the path of a regular file; reading from a pipe or a device could block forever.

    Parameters
    ----------
    path : path
    what : str
        What the file is for, for the message.
    error : type
        Raised if it does not exist or is not a regular file.
    """
    path = Path(path).expanduser()
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as reason:
        raise error(f"{path} cannot be read: it does not exist.") from reason
    except (OSError, ValueError) as reason:
        raise error(f"{path} cannot be read: {_reason(reason)}.") from reason
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise error(f"{path} is {kind}; the {what} has to be a file")
    return path


def read_bytes(
    path: str | Path,
    limit: Limit = CONFIGURATION_BYTES,
    *,
    what: str = "file",
    error: ErrorType = FormatError,
) -> bytes:
    """Return the content of a regular file, up to a limit in size.

    Parameters
    ----------
    path : str or Path
    limit : Limit
        Largest size.
    what : str
        What the file is for, for messages.
    error : type
        Type of the errors.

    Raises
    ------
    SegmentAnythingError
        An `error`, if it is missing, not a regular file, or too large.
    """
    path = require_file(path, what, error)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(limit.value + 1) if size <= limit.value else b""
    except OSError as reason:
        raise error(f"{path} cannot be read: {_reason(reason)}.") from reason
    limit.check(max(size, len(data)), f"{path} is too large for a {what}", error)
    return data


def decode_json(data: bytes | str, kind: Any, where: str, error: ErrorType = FormatError) -> Any:
    """Decode JSON and validate it against a type: a plain one, a `TypedDict`, or a dataclass.

    Parameters
    ----------
    data : bytes or str
    kind : type
        Validation is strict: numbers are not accepted for text, nor text for numbers.
    where : str
        Start of the message; may be empty.
    error : type
        Raised if it is not JSON, or does not match the type.
    """
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_json(data, strict=True)
    except ValidationError as reason:
        own = reason.errors(include_url=False)[0].get("ctx", {}).get("error")
        if isinstance(own, SegmentAnythingError):
            raise own from None
        text = _explain(reason)
        raise error(f"{where}: {text}" if where else text) from None


def read_json(
    path: str | Path,
    kind: Any,
    *,
    what: str = "JSON file",
    limit: Limit = CONFIGURATION_BYTES,
    error: ErrorType = FormatError,
) -> Any:
    """Read a JSON file and validate it; see `read_bytes` and `decode_json`.

    Parameters
    ----------
    path : str or Path
    kind : type
        As for `decode_json`.
    what : str
        What the file is for, for messages.
    limit : Limit
        Largest size.
    error : type
        Type of the errors.
    """
    data = read_bytes(path, limit, what=what, error=error)
    return decode_json(data, kind, str(path), error)


def read_toml(path: str | Path, what: str = "configuration") -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path : str or Path
    what : str
        What the file is for, for messages.

    Raises
    ------
    ParameterError
        If it cannot be read, or is not TOML.
    """
    data = read_bytes(path, what=what, error=ParameterError)
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as reason:
        raise ParameterError(f"{path} is not TOML: {one_line(reason)}") from None


def convert(value: Any, kind: Any, where: str, error: ErrorType = FormatError) -> Any:
    """Validate plain values, such as those of TOML, against a type; see `decode_json`.

    Parameters
    ----------
    value : object
        Plain values.
    kind, where, error
        As for `decode_json`.
    """
    from pydantic_core import PydanticSerializationError, to_json

    try:
        data = to_json(value, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError, RecursionError) as reason:
        raise error(f"{where}: {one_line(reason)}") from reason
    return decode_json(data, kind, where, error)


def plain_name(text: Any, what: str, error: ErrorType = ParameterError) -> str:
    """Check a name that is used as a file or folder name, on any system.

    Parameters
    ----------
    text : object
        The name.
    what : str
        What it is a name for, for messages.
    error : type
        Type of the error.

    Raises
    ------
    SegmentAnythingError
        An `error`, if it is empty, too long or reserved, begins or ends with a dot or a space,
        or contains a slash, colon, quote, wildcard or control character.
    """
    if (
        not isinstance(text, str)
        or not 1 <= len(text) <= _NAME_LENGTH
        or re.search(r'[/\\:*?"<>|\x00-\x1f\x7f]', text)
        or text.strip(" ").strip(".") != text
        or text.split(".")[0].lower() in _RESERVED
    ):
        raise error(
            f"{text!r} is not a valid name for {what}: avoid slashes, colons, quotes, wildcards "
            f"and a dot or space at either end, and use at most {_NAME_LENGTH} characters"
        )
    return text


def below(folder: Path, name: str, what: str, error: ErrorType = FormatError) -> Path:
    """Resolve a path that a file names inside a folder, and check that it stays there.

    Parameters
    ----------
    folder : Path
    name : str
        The relative path.
    what : str
        What it refers to, for messages.
    error : type
        Type of the error.

    Raises
    ------
    SegmentAnythingError
        An `error`, if it leads out of the folder, possibly through a link.
    """
    path = folder / name
    if "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
        raise error(f"{what} {name!r} is outside of {folder}")
    return path


def inflate(data: bytes, size: int, what: str) -> bytes:
    """Inflate data of an expected size; never more than that is unpacked.

    Parameters
    ----------
    data : bytes
        Deflated data.
    size : int
        Expected size in bytes.
    what : str
        Start of messages.

    Raises
    ------
    FormatError
        If it is damaged or has another size.
    """
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise FormatError(f"{what} cannot be unpacked: {error}") from error
    if len(unpacked) != size or not unpacker.eof:
        raise FormatError(f"{what} does not have the size of its window")
    return unpacked


def require(value: Any, kind: type | tuple[type, ...], what: str, hint: str) -> None:
    """Raise `ParameterError` unless an argument has a type; `hint` tells what to give.

    Parameters
    ----------
    value : object
        The argument.
    kind : type or tuple of type
        Its valid types.
    what : str
        What it is, for messages.
    hint : str
        What to give, for messages.
    """
    if not isinstance(value, kind):
        raise ParameterError(f"{what} is {_a(type(value).__name__)}; {hint}")


def number(text: str) -> float | None:
    """Parse a finite decimal number; None for anything else."""
    text = text.strip()
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def is_url(source: object) -> bool:
    """Whether this is a URL (``https://``, ``s3://``, ``file://`` ...); a drive letter is not."""
    return isinstance(source, str) and _URL.match(source) is not None


def one_line(error: BaseException) -> str:
    """An exception's message on one line of at most 200 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or one_line(error)


def _a(name: str) -> str:
    return "None" if name == "NoneType" else f"a {name}"


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))
    except PydanticUserError:  # the class has its own configuration
        return TypeAdapter(kind)


def _explain(error: ValidationError) -> str:
    """The first error of a validation, with its place."""
    first: Any = error.errors(include_url=False, include_input=False)[0]
    place = ""
    for part in first["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    context = first.get("ctx", {})
    if first["type"] == "missing":
        return f"{place} is missing"
    if first["type"] == "union_tag_not_found":
        return f"{context['discriminator']} is missing".replace("'", "")
    if first["type"] == "union_tag_invalid":
        return "{discriminator} {tag} is unknown".format(**context).replace("'", "")
    text = first["msg"].replace("Input should", "this should").removeprefix("Value error, ")
    text = one_line(Exception(text[:1].lower() + text[1:]))
    return f"{place}: {text}" if place else text
