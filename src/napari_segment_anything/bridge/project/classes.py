"""Classes of objects in a viewer: which one new objects get, and their colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from ...errors import PromptError

if TYPE_CHECKING:
    from ...projects import ObjectClass
    from .project_session import ProjectSession


class ClassChoice:
    """The class that new objects get.

    Parameters
    ----------
    owner : ProjectSession
    """

    changed = Signal(str)
    """Emits the name of the class that new objects get now; "" for none."""

    def __init__(self, owner: ProjectSession) -> None:
        self._owner = owner
        self._current = ""

    @property
    def current(self) -> str:
        """The class that new objects get; "" for none."""
        return self._current

    @current.setter
    def current(self, name: str) -> None:
        self._current = name
        self.follow()
        self.changed.emit(name)

    @property
    def classes(self) -> tuple[ObjectClass, ...]:
        """The classes of the project."""
        return self._owner.project.classes

    def add(self, name: str) -> None:
        """Add a class to the project; new objects get it.

        Raises
        ------
        ParameterError
            If there is one of that name.
        """
        self._owner.project.set_classes([*self.classes, name])
        self.current = name

    def follow(self) -> None:
        """Use class and colours in the session that makes objects now."""
        owner = self._owner
        session = owner.apart if owner.now is None else owner.now.session
        if session is not None:
            session.class_name = self._current
            owner.session.commits.class_colours = {item.name: item.colour for item in self.classes}

    def press(self, key: str) -> bool:
        """Do what a digit does: give a class to the object under the mouse, or to new ones.

        0 takes the class of the object away, or lets new ones have none.

        Parameters
        ----------
        key : str

        Returns
        -------
        bool
            Whether a class has that key.

        Raises
        ------
        PromptError
            If no image is open.
        """
        name = next((item.name for item in self.classes if item.key == key), None)
        if name is None and key != "0":
            return False
        session = self._owner.session
        if self._owner.now is None and self._owner.apart is None:
            raise PromptError("open an image first")
        label = session.commits.object_at_cursor if session.draft is None else None
        if label is None:
            self.current = name or ""
        else:
            session.classify(label, name or "")
        return True
