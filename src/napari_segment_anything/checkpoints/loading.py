"""Load any SAM checkpoint by name, path or URL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..families import FAMILIES, ModelFolder, load_family
from ..families.folder import read_weights
from ..families.own_encoder import build_hq
from ..families.published import HQ_MARK, SAM_PIXELS, published_names
from ..network.instance_decoder import InstanceDecoder
from ..network.promptable import Promptable
from ..network.sam import SamConfig
from ..progress import Progress
from ..reading import decode_json
from .architecture import architecture_name, infer_config, infer_decoder_config
from .building import build_decoder, build_network
from .catalogue import CatalogueEntry, cannot
from .configuration import (
    check_config,
    config_from_json,
    decoder_config_from_json,
    preparation,
)
from .download import fetch, records_file
from .fingerprint import combine, fingerprint
from .hub import hub_model
from .obtaining import locate, named_entry
from .reading import StoredTensors, read_decoder, read_tensors
from .records import recall, record

PRETRAINED = "pretrained_encoder"
"""In the metadata of a file whose other parts do not know its image encoder yet."""
ProgressCallback = Callable[[Progress], object]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A network with its weights, and their origin.

    Parameters
    ----------
    network : Promptable
        On the CPU, in float32, in evaluation mode.
    name : str
        The catalogue's name, or the file's without its suffix.
    architecture : str
        ``"vit_b"``, ``"vit_t"``, ``"micro"`` and so on.
    fingerprint : str
        SHA-256 of the weights as stored, instance decoder included, in hexadecimal.
    metadata : dict
        Metadata of the file or the catalogue: licence, citation, source, description; and for
        our own files what was stored, such as "everything" (mode -> default parameters),
        "auto_mode" and "card".
    instance_decoder : InstanceDecoder or None
        Its instance decoder, if there is one.
    """

    network: Promptable
    name: str
    architecture: str
    fingerprint: str
    metadata: dict[str, Any] = field(default_factory=dict)
    instance_decoder: InstanceDecoder | None = None

    def __repr__(self) -> str:
        return f"<Checkpoint {self.name}: {self.architecture}>"


def load_checkpoint(
    source: str | Path,
    *,
    instance_decoder: str | Path | bool | None = None,
    directory: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> Checkpoint:
    """Load a SAM checkpoint.

    Parameters
    ----------
    source : str or Path
        A name from `catalogue` (downloaded if it is not in the cache), a path, or an http, https
        or file URL; or a model of another family in the form of transformers, as a folder or as
        the ``"owner/name"`` of one on the Hugging Face Hub. Files are in torch's format (.pth,
        .pt) or safetensors; plain state dicts, or wrapped under "model_state", "state_dict" or
        "model"; with names prefixed "sam." or "module."; optionally with an instance decoder
        under "decoder_state". The architecture is recognised from the tensors.
    instance_decoder : str, Path or bool, optional
        Path or URL of a separate instance decoder, or the name of a model that has one; False
        for none. By default that of the model, if there is one.
    directory : str or Path, optional
        Folder for downloads; by default one in `cache_directory`.
    progress : callable, optional
        Called with a `Progress` in bytes during a download.

    Returns
    -------
    Checkpoint
        The network and its metadata.

    Raises
    ------
    CheckpointError
        If the name is unknown or the file is not a complete SAM checkpoint; the message says
        what is wrong. Files that contain more than weights are rejected: code in a checkpoint
        is never run.
    DownloadError
        If a file could not be downloaded.
    """
    entry = named_entry(source) if isinstance(source, str) else None
    if entry is not None and entry.kind != "sam":
        raise CheckpointError(f"{cannot(entry.name, 'prompt')}. Use it to find objects")
    path = locate(source, directory, progress)
    if path.is_dir():
        _no_decoder(path, instance_decoder)
        return _load_folder(path, entry, source, directory)
    name = entry.name if entry is not None else _stem(path)
    return _load(path, entry, name, instance_decoder, directory, progress)


def _load(
    path: Path,
    entry: CatalogueEntry | None,
    name: str,
    instance_decoder: str | Path | bool | None,
    directory: str | Path | None,
    progress: ProgressCallback | None,
) -> Checkpoint:
    store = records_file(directory)
    stored = read_tensors(path)
    config = _config(stored, path)
    if HQ_MARK in stored.network:
        _no_decoder(path, instance_decoder)
        hq = build_hq(config.encoder, stored.network, str(path))
        mark = _fingerprint(path, "network", stored.network, store)
        kind = f"sam_hq_{architecture_name(config)}"
        metadata = {**FAMILIES["sam_hq"].metadata, **_metadata(stored.header, entry, path)}
        return Checkpoint(hq, name, kind, mark, metadata)
    if entry is not None:
        config = replace(config, **entry.preparation)
    network = build_network(config, stored.network, str(path))
    mark = _fingerprint(path, "network", stored.network, store)
    mark = combine(mark, preparation(config))
    metadata = _metadata(stored.header, entry, path)
    embedding_channels = network.mask_decoder.width

    decoder_state, decoder_path = stored.decoder, path
    if instance_decoder is False:
        decoder_state = None
    elif instance_decoder is not None and instance_decoder is not True:
        named = named_entry(instance_decoder) if isinstance(instance_decoder, str) else None
        if named is not None and named.decoder is not None:
            decoder_path = fetch(named.decoder, directory, progress)
        else:
            decoder_path = locate(instance_decoder, directory, progress)
        decoder_state = read_decoder(decoder_path)
    elif decoder_state is None and entry is not None and entry.decoder is not None:
        decoder_path = fetch(entry.decoder, directory, progress)
        decoder_state = read_decoder(decoder_path)
    if decoder_state is None:
        if instance_decoder is True:
            raise CheckpointError(
                f"{name} has no instance decoder; give the path of one in instance_decoder"
            )
        return Checkpoint(network, name, architecture_name(config), mark, metadata)
    described = stored.header.get("instance_decoder") if decoder_path == path else None
    if described is not None:
        decoder_config = decoder_config_from_json(described)
    else:
        decoder_config = infer_decoder_config(decoder_state)
    decoder = build_decoder(decoder_config, decoder_state, str(decoder_path), embedding_channels)
    decoder_mark = _fingerprint(decoder_path, "instance decoder", decoder_state, store)
    whole = combine(mark, decoder_mark)
    return Checkpoint(network, name, architecture_name(config), whole, metadata, decoder)


def _load_folder(
    path: Path, entry: CatalogueEntry | None, source: str | Path, directory: str | Path | None
) -> Checkpoint:
    folder, store = ModelFolder.read(path), records_file(directory)
    name, metadata = path.resolve().name, _metadata({}, entry, path)
    if entry is not None:
        name = entry.name
    elif (model := hub_model(source)) is not None:
        name, metadata = model.hub, {"source": model.page}
    if folder.model_type == "sam":
        # The first SAM has a network here, which is several times faster.
        stored = StoredTensors(published_names(folder.tensors()))
        mean, deviation = ([round(v, 4) for v in each] for each in folder.pixels(*SAM_PIXELS))
        values: dict[str, Any] = {"pixel_mean": (*mean,), "pixel_std": (*deviation,)}
        config = replace(_config(stored, path), **values)
        network = build_network(config, stored.network, str(path))
        mark = _fingerprint(folder.files[0], "renamed network", stored.network, store)
        mark = combine(mark, preparation(config))
        return Checkpoint(network, name, architecture_name(config), mark, metadata)
    if folder.model_type == "sam_hq":
        stored = StoredTensors(published_names(folder.tensors()))
        pixels = folder.pixels(*FAMILIES["sam_hq"].pixels)
        encoder = _config(stored, path).encoder
        family = build_hq(encoder, stored.network, str(path), folder.config, pixels)
    else:
        family = load_family(folder)
    metadata = {**FAMILIES[folder.model_type].metadata, **metadata}
    mark = _folder_fingerprint(folder, store)
    return Checkpoint(family, name, folder.model_type, mark, metadata)


def _no_decoder(path: Path, instance_decoder: str | Path | bool | None) -> None:
    if instance_decoder:
        raise CheckpointError(f"{path} takes no instance decoder; leave instance_decoder out")


def _folder_fingerprint(folder: ModelFolder, store: Path) -> str:
    mark = hashlib.sha256(folder.settings.encode())
    for file in folder.files:
        mark.update(_fingerprint(file, "network", read_weights(file), store).encode())
    return mark.hexdigest()


def _config(stored: StoredTensors, path: Path) -> SamConfig:
    described = stored.header.get("config")
    try:
        if described is not None:
            return config_from_json(described)
        config = infer_config(stored.network)
        check_config(config)
        return config
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (ArithmeticError, ValueError) as error:
        raise CheckpointError(f"{path}: its tensors do not form a network: {error}") from error


def _metadata(header: dict[str, str], entry: CatalogueEntry | None, path: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if entry is not None:
        for key in ("licence", "citation", "source", "description"):
            if value := getattr(entry, key):
                metadata[key] = value
    if (text := header.get("metadata")) is not None:
        where = f"the metadata in {path} is damaged"
        metadata.update(decode_json(text, dict[str, Any], where, CheckpointError))
    return metadata


def _fingerprint(path: Path, part: str, state: dict[str, Any], store: Path) -> str:
    fact = f"fingerprint of the {part}"
    known = recall(path, fact, store)
    if known is None:
        known = fingerprint(state)
        record(path, fact, known, store)
    return known


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".safetensors", ".pth", ".pt"):
        name = name.removesuffix(suffix)
    return name
