"""A project: a series of images that are annotated with a model's help, in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets.sources import ImageSource, as_sources, find_source_images
from ..errors import FormatError, ParameterError
from ..formats.locking import exclusive
from ..parameters import PROJECT
from ..progress import finish
from .classes import ObjectClass, as_classes
from .configuration import (
    FILE,
    VERSION,
    Configuration,
    check_settings,
    read_configuration,
    write_configuration,
)
from .files import write_text
from .images import ProjectImage
from .index import IndexEntry, index_text, read_index, to_entries
from .status import totals
from .versions import ModelVersion, list_versions, new_version

if TYPE_CHECKING:
    from .exporting import ExportResult
    from .importing import ImportResult

INDEX = "images.csv"
_LOCK = ".lock"
_WAIT = 10.0


class Project:
    """Images, their labels and objects, classes, and versions of a model, in a folder.

    Made by `Project.create` and `Project.open`. Several people may have the same one open; each
    locks the image that they work on.

    Parameters
    ----------
    folder : Path
        With a ``project.toml``.

    Examples
    --------
    >>> project = Project.create("beads", "raw", classes=["bead"])  # doctest: +SKIP
    >>> with project.image("a1").lock() as editing:                 # doctest: +SKIP
    ...     editing.write(labels=labels, state="complete")
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_key: dict[str, ProjectImage] = {}
        self.reload()

    @classmethod
    def create(
        cls,
        folder: str | Path,
        images: Any,
        *,
        name: str | None = None,
        classes: Iterable[ObjectClass | str] = (),
        model: str = "default",
        **settings: Any,
    ) -> Project:
        """Create a project.

        Parameters
        ----------
        folder : path
            Created; it must not hold a project yet.
        images : path, ImageSource, or sequence of these
            Folders, patterns, tables, files, OME-Zarr images or plates; see `ImageSource`.
        name : str, optional
            The folder's by default.
        classes : iterable of ObjectClass or str
            Classes of objects.
        model : str
            A name, path or URL as `load_model` takes it.
        **settings
            Of the table `parameters.PROJECT`.

        Raises
        ------
        FormatError, ImageError
            If images are missing or damaged, or the folder cannot be written or holds a project.
        ParameterError
            If an argument is invalid.
        """
        folder = Path(folder).expanduser().absolute()
        check_settings(settings)
        if (folder / FILE).exists():
            raise FormatError(
                f"{folder} holds a project already; open it, or choose another folder"
            )
        configuration = Configuration(
            VERSION, name or folder.name, model, (), as_classes(classes), dict(settings)
        )
        sources = as_sources(images, folder)
        entries = _found(sources, folder, 0, ())
        write_text(folder / INDEX, index_text(entries))
        write_configuration(folder, replace(configuration, images=sources))
        return cls(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Project:
        """Open a project.

        Raises
        ------
        FormatError
            If there is none in the folder, or its files are damaged.
        """
        return cls(Path(folder).expanduser().absolute())

    def __repr__(self) -> str:
        return f"<Project {self.name}: {len(self.images)} images, in {self.folder}>"

    def reload(self) -> None:
        """Read ``project.toml`` and ``images.csv`` again, which others may have changed."""
        self._configuration = read_configuration(self.folder)
        sources = self._configuration.images
        self._entries = read_index(self.folder / INDEX, len(sources))
        known, self._by_key = self._by_key, {}
        for entry in self._entries:
            source = sources[entry.source]
            image = known.get(entry.key)
            if image is None or not image.is_made_of(source, entry):
                image = ProjectImage(self.folder, source, entry, self._class_names)
            self._by_key[entry.key] = image
        self._images = tuple(self._by_key.values())

    def _class_names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self._configuration.classes)

    # -- images ----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What it is called."""
        return self._configuration.name

    @property
    def images(self) -> tuple[ProjectImage, ...]:
        """Its images, in order."""
        return self._images

    @property
    def sources(self) -> tuple[ImageSource, ...]:
        """Where its images come from."""
        return self._configuration.images

    def image(self, key: str) -> ProjectImage:
        """Return an image.

        Raises
        ------
        ParameterError
            If there is none of that key.
        """
        try:
            return self._by_key[key]
        except KeyError:
            raise ParameterError(f"the project {self.name} has no image {key!r}") from None

    def counts(self) -> Mapping[str, int]:
        """Number of images in each state."""
        return totals([image.status for image in self._images])

    def add_images(self, images: Any) -> tuple[ProjectImage, ...]:
        """Add images; return those that are new.

        Parameters
        ----------
        images : path, ImageSource, or sequence of these
            As for `create`.
        """
        with self._locked():
            sources = as_sources(images, self.folder)
            first = len(self.sources)
            found = _found(sources, self.folder, first, self._entries)
            write_configuration(
                self.folder, replace(self._configuration, images=(*self.sources, *sources))
            )
            return self._extended(found)

    def refresh(self) -> tuple[ProjectImage, ...]:
        """Look for images that were added to the project's folders; return those that are new."""
        with self._locked():
            return self._extended(_found(self.sources, self.folder, 0, self._entries))

    def _extended(self, found: Sequence[IndexEntry]) -> tuple[ProjectImage, ...]:
        write_text(self.folder / INDEX, index_text([*self._entries, *found]))
        self.reload()
        return tuple(self.image(entry.key) for entry in found)

    # -- classes and settings --------------------------------------------------------------------

    @property
    def classes(self) -> tuple[ObjectClass, ...]:
        """Classes that objects can have."""
        return self._configuration.classes

    def set_classes(self, classes: Iterable[ObjectClass | str]) -> None:
        """Replace the classes.

        Raises
        ------
        ParameterError
            If two have the same name or key.
        """
        made = as_classes(classes)
        self._change(lambda found: replace(found, classes=made))

    def add_classes(self, names: Iterable[str]) -> None:
        """Add classes that the project does not have, by name."""
        wanted = set(names)

        def change(found: Configuration) -> Configuration:
            new = sorted(wanted - {item.name for item in found.classes})
            return replace(found, classes=as_classes([*found.classes, *new]))

        if wanted - set(self._class_names()):
            self._change(change)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Values of the table `parameters.PROJECT`."""
        defaults = {name: parameter.default for name, parameter in PROJECT.items()}
        return defaults | self._configuration.settings

    def configure(self, **settings: Any) -> None:
        """Change settings.

        Raises
        ------
        ParameterError
            If one is unknown or out of range.
        """
        check_settings(settings)
        self._change(lambda found: replace(found, settings={**found.settings, **settings}))

    # -- models ----------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """The model in use: a version ("v2"), or as `load_model` takes it."""
        return self._configuration.model

    @property
    def versions(self) -> tuple[ModelVersion, ...]:
        """Models learned from this project, oldest first."""
        return list_versions(self._models)

    def model_path(self) -> str:
        """The model in use as `load_model` takes it."""
        for version in self.versions:
            if version.name == self.model:
                return str(version.path)
        return self.model

    def set_model(self, model: str) -> None:
        """Use another model: a version's name, or as `load_model` takes it."""
        if not model:
            raise ParameterError("a model needs a name")
        self._change(lambda found: replace(found, model=model))

    @contextmanager
    def new_version(self) -> Iterator[Path]:
        """Make the next version of the model, or nothing if the block fails.

        Yields
        ------
        Path
            A hidden folder for ``model.safetensors``, ``learned.json`` and ``card.md``. Its name
            is the version's.

        Raises
        ------
        FormatError
            If it cannot be written, or the block does not write the first two.
        """
        with self._locked(), new_version(self._models) as folder:
            yield folder

    @property
    def audits(self) -> Path:
        """Folder of the audits."""
        return self.folder / "audits"

    # -- exchange --------------------------------------------------------------------------------

    def export(self, output: str | Path, format: str = "labels", **options: Any) -> ExportResult:
        """Export annotations to a folder.

        Parameters
        ----------
        output : path
            A new folder.
        format : {"labels", "sa1b", "coco", "training"}
        **options
            ``states``, ``with_images``, ``overwrite``; see `exporting.export_project`, which is the
            same as a generator of `Progress`.

        Raises
        ------
        ParameterError
            If an argument is invalid, the folder exists, or there is nothing to export.
        FormatError, ImageError
            If a file is damaged or cannot be written.
        """
        from .exporting import export_project

        return finish(export_project(self, output, format, **options))

    def import_annotations(self, source: str | Path, **options: Any) -> ImportResult:
        """Import annotations of others.

        Parameters
        ----------
        source : path
            Label images, SA-1B or COCO JSON, or an export.
        **options
            ``format``, ``state``, ``overwrite``, ``who``; see `importing.import_annotations`, which
            is the same as a generator of `Progress`.

        Raises
        ------
        ParameterError
            If no image has one of the names, or one has labels already.
        FormatError
            If a file is damaged or does not fit its image.
        ResourceError
            If somebody works on one of the images.
        """
        from .importing import import_annotations

        return finish(import_annotations(self, source, **options))

    # -- files -----------------------------------------------------------------------------------

    @property
    def _models(self) -> Path:
        return self.folder / "models"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others from changing the project's own files, and see what they changed before."""

        def busy() -> str:
            return f"another process is changing the project {self.folder}; try again"

        with exclusive(self.folder / _LOCK, busy, _WAIT):
            self.reload()
            yield

    def _change(self, change: Callable[[Configuration], Configuration]) -> None:
        with self._locked():
            write_configuration(self.folder, change(self._configuration))
            self.reload()


def _found(
    sources: Iterable[ImageSource], folder: Path, first: int, known: Sequence[IndexEntry]
) -> list[IndexEntry]:
    """New images of sources. Labels that tables give for them are in their folders already."""
    found: list[IndexEntry] = []
    labels: list[tuple[ProjectImage, str]] = []
    for number, source in enumerate(sources, start=first):
        name = Path(source.located(folder).removeprefix("sample:")).name
        images = find_source_images(source, folder)
        for entry, image in to_entries(images, number, name, [*known, *found]):
            found.append(entry)
            if image.label:
                place = source.place_of(folder, image.label)
                labels.append((ProjectImage(folder, source, entry, tuple), place))
    if labels:
        from .importing import plane_labels

        for target, place in labels:
            with target.lock() as editing:
                editing.write(labels=plane_labels(target, place), state="in_progress")
    return found
