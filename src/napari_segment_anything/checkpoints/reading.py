"""Read tensors from checkpoint files, without ever running code in them."""

from __future__ import annotations

import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from ..errors import CheckpointError, ResourceError
from ..limits import PICKLE_BYTES, TENSORS
from .stand_ins import read_training_state

# Keys under which training frameworks store the weights.
_WRAPPERS = ("model_state", "state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "sam.", "model.")
_HEADER_BYTES = 2**32
_SHARED = 4  # weights may be tied
DECODER_PREFIX = "instance_decoder."


@dataclass(frozen=True, slots=True)
class StoredTensors:
    """Content of a checkpoint file, under canonical names.

    Parameters
    ----------
    network : dict of str to Tensor
        The tensors of the SAM, as stored; they may be memory-mapped.
    decoder : dict of str to Tensor, or None
        The tensors of a bundled instance decoder.
    header : dict of str to str
        The metadata of a safetensors file; empty for others.
    """

    network: dict[str, Tensor]
    decoder: dict[str, Tensor] | None = None
    header: dict[str, str] = field(default_factory=dict)


def read_tensors(path: Path) -> StoredTensors:
    """Read a SAM checkpoint in any published format.

    Parameters
    ----------
    path : Path
        A .pth or .pt file of torch, or a .safetensors file; recognised by content, not by name.

    Returns
    -------
    StoredTensors
        With wrappers and name prefixes removed.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, of another format, or contains code.
    """
    content, header = _read_file(path)
    if header is None:
        return _unwrap(content, path)
    network = {k: v for k, v in content.items() if not k.startswith(DECODER_PREFIX)}
    decoder = {
        k.removeprefix(DECODER_PREFIX): v
        for k, v in content.items()
        if k.startswith(DECODER_PREFIX)
    }
    stored = _unwrap(network, path)
    return StoredTensors(stored.network, decoder or stored.decoder, header)


def read_decoder(path: Path) -> dict[str, Tensor]:
    """Read an instance decoder, from a file of its own or bundled with a SAM.

    Raises
    ------
    CheckpointError
        As `read_tensors`.
    """
    content, _ = _read_file(path)
    if isinstance(content, Mapping) and isinstance(content.get("decoder_state"), Mapping):
        content = content["decoder_state"]
    elif isinstance(content, Mapping) and any(str(k).startswith(DECODER_PREFIX) for k in content):
        content = {
            k.removeprefix(DECODER_PREFIX): v
            for k, v in content.items()
            if k.startswith(DECODER_PREFIX)
        }
    tensors = _tensors(content, path)
    return {k: v for k, v in tensors.items() if not k.startswith("encoder.")}


def fault_of(path: Path) -> str:
    """What is wrong with the format of a checkpoint file; "" if nothing is.

    Truncated files of the two newer formats are recognised without reading all of them. Files of
    torch before 1.6 do not contain their length.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < _HEADER_BYTES:
        try:
            with safetensors.safe_open(path, framework="pt"):
                return ""
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            return f"it is truncated or corrupt ({error})"
    if start.startswith(b"PK\x03\x04"):
        return "" if zipfile.is_zipfile(path) else "it is truncated: its end is missing"
    return "" if start.startswith(b"\x80") else f"it is not a checkpoint: {_guess(start)}"


def _read_file(path: Path) -> tuple[Any, dict[str, str] | None]:
    """Content of a file, and its metadata if it is a safetensors file."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < _HEADER_BYTES:
        return _read_safetensors(path)
    if not start.startswith((b"PK\x03\x04", b"\x80")):
        raise CheckpointError(f"{path} is not a checkpoint: {_guess(start)}")
    return _read_torch(path, mapped=start.startswith(b"PK")), None


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is truncated or corrupt ({error}); download or save it again"
        ) from error


def _check_archive(path: Path) -> None:
    """Raise `CheckpointError` for compressed files: torch stores weights uncompressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} is truncated or corrupt ({error}); download or save it again"
        ) from error
    TENSORS.check(len(members), f"{path} has too many parts", CheckpointError)
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(f"{path} is compressed, which torch never does; unpack it")
        if member.filename.endswith(".pkl"):
            what = f"the pickle in {path} is too large"
            PICKLE_BYTES.check(member.file_size, what, CheckpointError)


def _read_torch(path: Path, *, mapped: bool) -> Any:
    if mapped:
        _check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except MemoryError as error:
        raise ResourceError(f"not enough memory to read {path}") from error
    except pickle.UnpicklingError as error:
        content = read_training_state(path) if mapped else None
        if isinstance(content, Mapping):
            return content
        raise _refused(path, str(error)) from error
    except Exception as error:
        # Damaged files can raise any exception.
        text = str(error)
        if "TorchScript" in text:
            raise CheckpointError(
                f"{path} is a compiled TorchScript program, not weights; "
                "use the checkpoint that it was made from"
            ) from error
        reason = text.splitlines()[0] if text else type(error).__name__
        raise CheckpointError(
            f"{path} is truncated or corrupt ({reason}); download or save it again"
        ) from error


def _refused(path: Path, reason: str) -> CheckpointError:
    found = re.search(r"GLOBAL ([\w.]+)", reason)
    if "nsupported operand" in reason:
        return CheckpointError(
            f"{path} is a pickle that was not written by torch; it was not opened. If you trust "
            "it, save it again with torch.save(state_dict, 'weights.pt')"
        )
    if (found is None and "Weights only" not in reason) or (found and _is_cut(found[1])):
        return CheckpointError(f"{path} is truncated or corrupt; download or save it again")
    what = f" ({found[1]})" if found else ""
    return CheckpointError(
        f"{path} contains Python objects{what} besides weights, which could run code when "
        "loaded; it was not opened. If you trust it, save only its state dict in the environment "
        "it comes from: torch.save(model.state_dict(), 'weights.pt')"
    )


def _is_cut(name: str) -> bool:
    """Whether a name does not exist in torch, because the file ends in the middle of it."""
    module, _, attribute = name.rpartition(".")
    known = sys.modules.get(module)
    return module.startswith("torch") and known is not None and not hasattr(known, attribute)


def _guess(start: bytes) -> str:
    text = start.lstrip().lower()
    if not text:
        return "it is empty"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, as from a link that needs a login; download the file itself"
    if text.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; run 'git lfs pull' to get the file itself"
    if text.startswith(b"\x89hdf"):
        return "it is an HDF5 file; SAM checkpoints are .pth, .pt or .safetensors"
    return "SAM checkpoints are .pth or .pt files saved by torch, or .safetensors"


def _unwrap(content: Any, path: Path) -> StoredTensors:
    decoder: dict[str, Tensor] | None = None
    for _ in range(3):
        if not isinstance(content, Mapping):
            break
        if isinstance(content.get("decoder_state"), Mapping):
            bundled = _tensors(content["decoder_state"], path)
            decoder = {k: v for k, v in bundled.items() if not k.startswith("encoder.")}
        inner = next((content[k] for k in _WRAPPERS if isinstance(content.get(k), Mapping)), None)
        if inner is None:
            break
        content = inner
    tensors = _without_prefixes(_tensors(content, path))
    # A table of indices that is derived from the window size; some files include it.
    network = {k: v for k, v in tensors.items() if not k.endswith(".attention_bias_idxs")}
    return StoredTensors(network, decoder)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise CheckpointError(
            f"{path} contains a {kind} instead of named tensors: not a checkpoint"
        )
    tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        some = ", ".join(repr(str(k)) for k in list(content)[:5]) or "nothing"
        raise CheckpointError(f"{path} contains no weights (only {some}): not a SAM checkpoint")
    TENSORS.check(len(tensors), f"{path} has too many tensors", CheckpointError)
    strange = [k for k, v in tensors.items() if v.layout != torch.strided or v.is_quantized]
    strange += [k for k, v in tensors.items() if v.is_meta]
    if strange:
        raise CheckpointError(
            f"{path}: {strange[0]} is sparse, quantised or empty, not a plain tensor"
        )
    claimed, held = sum(v.nbytes for v in tensors.values()), path.stat().st_size
    if claimed > _SHARED * held:
        raise CheckpointError(
            f"{path} declares {claimed} bytes of weights but has {held}: it is damaged or forged"
        )
    return tensors


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in range(4):
        if any(name.startswith("image_encoder.") for name in tensors):
            break
        # The network may be below a prefix, next to other tensors.
        prefix = next(
            (p for p in _PREFIXES if any(_below(n, p) for n in tensors)),
            None,
        )
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _below(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and "image_encoder." in name
