"""Models on the Hugging Face Hub: folders that are downloaded, or that are here already."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import TypedDict

from ..errors import CheckpointError, DownloadError
from ..families.folder import CONFIG, INDEX, WEIGHTS, ModelFolder
from ..limits import CONNECT_SECONDS, READ_SECONDS
from ..progress import Progress
from ..reading import one_line, plain_name, read_json
from .catalogue import RemoteFile, catalogue
from .download import CACHE_VARIABLE, ProgressCallback, checkpoint_directory, fetch
from .reading import fault_of
from .transfer import Interrupted

SITE = "https://huggingface.co"
INSTALL_EXTRA = 'pip install "segment-anything-napari[models]"'
_NAME = re.compile(
    r"(?P<hub>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)"
    r"(@(?P<revision>[\w/-]+(\.[\w/-]+)*))?"
)
_FILES = (".pth", ".pt", ".safetensors", ".bin", ".ckpt")
_RECORD = "hub.json"
# Besides weights: what the networks, their image processors and their tokenizers are made from.
_SETTINGS = (
    CONFIG,
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
)


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model on the hub.

    Parameters
    ----------
    hub : str
        Its ``"owner/name"``.
    revision : str
        A commit, tag or branch; empty for the latest.
    """

    hub: str
    revision: str = ""

    @property
    def page(self) -> str:
        """Its web page."""
        return f"{SITE}/{self.hub}"

    def folder(self, directory: str | Path | None = None) -> Path:
        """Return the folder for its files, in `directory` or the cache."""
        name = self.hub.replace("/", "--")
        if self.revision:
            name += "@" + self.revision.replace("/", "-")[:12]
        return checkpoint_directory(directory) / name


class _Record(TypedDict):
    """What was downloaded: the commit, and sizes of the files by name."""

    hub: str
    commit: str
    files: dict[str, int]


def hub_model(source: object) -> HubModel | None:
    """Read ``"owner/name"`` or ``"owner/name@revision"``; None for anything else.

    The name of a checkpoint file is none, nor is the path of anything that exists.
    """
    if not isinstance(source, str) or source.endswith(_FILES) or Path(source).exists():
        return None
    match = _NAME.fullmatch(source)
    return HubModel(match["hub"], match["revision"] or "") if match else None


def find_folder(model: HubModel, directory: str | Path | None = None) -> Path | None:
    """Find the folder of a model that is here already: ours, or in the hub's own cache.

    Parameters
    ----------
    model : HubModel
    directory : str or Path, optional
        As for `download`.
    """
    for folder in (model.folder(directory), _hub_cache(model)):
        if folder.is_dir() and _complete(folder):
            return folder
    return None


def fetch_folder(
    model: HubModel,
    directory: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> Path:
    """Return the folder of a model, downloading what is missing.

    Only configurations, safetensors and files of tokenizers are downloaded. Each is checked
    against the size and hash that the hub lists; interrupted downloads are continued.

    Parameters
    ----------
    model : HubModel
    directory, progress
        As for `download`.

    Raises
    ------
    CheckpointError
        If the extra ``models`` is not installed.
    DownloadError
        If the model does not exist, is gated, or cannot be downloaded; the message says which
        files go where without a network.
    ResourceError
        As `download`.
    """
    if (here := find_folder(model, directory)) is not None:
        return here
    require_extra(model.hub)
    folder = model.folder(directory)
    commit, files = _listing(model, folder)
    headers, done = _headers(), 0
    total = sum(file.size or 0 for file in files)
    for file in files:

        def show(step: Progress, before: int = done) -> None:
            if progress is not None:
                progress(Progress(before + step.done, total, message=step.message))

        try:
            fetch(file, directory, show, headers)
        except DownloadError as error:
            if not isinstance(cause := error.__cause__, Interrupted):
                raise
            if cause.status in (401, 403):
                raise _gated(model, folder) from error
            kept = "The part received so far is kept and will be continued. " if cause.kept else ""
            raise DownloadError(
                f"could not download {model.hub}: {Path(file.file).name}: {cause}. "
                f"{kept}{_offline(model, folder, files)}"
            ) from error
        done += file.size or 0
    _write(folder, model, commit, files)
    return folder


def require_extra(what: str) -> None:
    """Raise `CheckpointError` unless the packages of the extra ``models`` are installed.

    Parameters
    ----------
    what : str
        What needs them, for the message.
    """
    if missing := missing_packages():
        raise CheckpointError(
            f"{what} needs {' and '.join(missing)}, which {'are' if missing[1:] else 'is'} not "
            f"installed: {INSTALL_EXTRA}"
        )


def missing_packages() -> list[str]:
    """Return the packages of the extra ``models`` that are not installed."""
    from importlib.util import find_spec

    return [name for name in ("transformers", "huggingface_hub") if find_spec(name) is None]


def _listing(model: HubModel, folder: Path) -> tuple[str, list[RemoteFile]]:
    """The commit, and the files to download from it."""
    from huggingface_hub import HfApi, errors, hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or None
    wait = CONNECT_SECONDS.value + READ_SECONDS.value
    try:
        info = HfApi(endpoint=endpoint).model_info(
            model.hub, revision=model.revision or None, files_metadata=True, timeout=wait
        )
    except errors.GatedRepoError as error:
        raise _gated(model, folder) from error
    except errors.RepositoryNotFoundError as error:
        if any(entry.hub == model.hub for entry in catalogue().values()):
            # The hub gives the same answer where a token is missing or not valid.
            raise _gated(model, folder) from error
        raise DownloadError(
            f"there is no model {model.hub} on the Hugging Face Hub, and no such folder here; "
            "a private one needs a token in HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"{model.hub} has no revision {model.revision!r}") from error
    except Exception as error:
        # Which library makes the requests, and its errors, depend on the version of the client.
        raise DownloadError(
            f"could not reach the Hugging Face Hub for {model.hub}: {one_line(error)}. "
            f"{_offline(model, folder, None)}"
        ) from error
    commit = info.sha or model.revision
    listed = {file.rfilename: file for file in info.siblings or ()}
    files = []
    for name in _chosen(model, set(listed)):
        file, url = listed[name], hf_hub_url(model.hub, name, revision=commit, endpoint=endpoint)
        kind, digest = ("git", file.blob_id) if file.lfs is None else ("sha256", file.lfs.sha256)
        if not digest or file.size is None:
            raise DownloadError(f"the hub at {endpoint or SITE} lists no hash of {name}")
        files.append(RemoteFile(f"{folder.name}/{name}", url, kind, digest, file.size))
    return commit, files


def _chosen(model: HubModel, names: set[str]) -> list[str]:
    """Names of the files that are needed, of those that are published; weights last."""
    if CONFIG not in names:
        raise DownloadError(f"{model.hub} is not a model in the form of transformers: no {CONFIG}")
    shards = sorted(n for n in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", n))
    if WEIGHTS in names:
        weights = [WEIGHTS]
    elif INDEX in names and shards:
        weights = [INDEX, *shards]
    else:
        raise DownloadError(
            f"{model.hub} publishes no {WEIGHTS}; other formats of weights can run code and are "
            "never read. Look for a version of the model with safetensors"
        )
    settings = [name for name in _SETTINGS if name in names]
    return [plain_name(name, "a file of a model", DownloadError) for name in settings + weights]


def _headers() -> Mapping[str, str]:
    """Headers with the user's token, from HF_TOKEN or from logging in, if there is one."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers = build_hf_headers(library_name="segment-anything-napari")
    return {name: value for name, value in headers.items() if isinstance(value, str)}


def _gated(model: HubModel, folder: Path) -> DownloadError:
    return DownloadError(
        f"{model.hub} is gated: ask its publisher for access at {model.page}, make a token at "
        f"{SITE}/settings/tokens, and set HF_TOKEN to it (or run: hf auth login), then download "
        f"again. {_offline(model, folder, None)}"
    )


def _offline(model: HubModel, folder: Path, files: list[RemoteFile] | None) -> str:
    """Which files go where, for those without a network."""
    if files is None:
        names = f"{CONFIG}, {WEIGHTS} and, if there are any, tokenizer and processor .json files"
    else:
        names = ", ".join(Path(file.file).name for file in files)
    where = f"{model.page}/tree/{model.revision or 'main'}"
    return (
        f"Without a network, put these files of {where} into {folder}: {names}; or set "
        f"{CACHE_VARIABLE} to a cache folder that has them, or give the path of a folder with them"
    )


def _complete(folder: Path) -> bool:
    """Whether all files of a folder are there; files that the user put there have no record."""
    path = folder / _RECORD
    if path.is_file():
        try:
            files: dict[str, int] = read_json(path, _Record)["files"]
            sizes = {name: (folder / name).stat().st_size for name in files}
        except (OSError, ValueError):
            return False
        return sizes == files
    try:
        return not any(fault_of(file) for file in ModelFolder.read(folder).files)
    except CheckpointError:
        return False


def _write(folder: Path, model: HubModel, commit: str, files: list[RemoteFile]) -> None:
    sizes = {Path(file.file).name: file.size for file in files}
    content = {"hub": model.hub, "commit": commit, "files": sizes}
    partial = folder / f"{_RECORD}.{os.getpid()}.part"
    partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
    partial.replace(folder / _RECORD)


def _hub_cache(model: HubModel) -> Path:
    """Where the cache that the hub's own client keeps would have the model."""
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    root = Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()
    kept = root / ("models--" + model.hub.replace("/", "--"))
    commit = model.revision or "main"
    with contextlib.suppress(OSError, ValueError):
        commit = (kept / "refs" / commit).read_text(encoding="utf-8").strip()
    return kept / "snapshots" / commit
