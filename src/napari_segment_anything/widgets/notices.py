"""Messages that stay until they are dealt with, each with what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from .parts import button, column, row, tight


class _Text(QLabel):
    """A sentence that is always seen whole: its height is kept free."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)

    def resizeEvent(self, event: Any) -> None:
        """Ask for the height that the text needs at this width: layouts in layouts forget it."""
        super().resizeEvent(event)
        self.setMinimumHeight(self.heightForWidth(self.width()))


class Notices(QWidget):
    """A list of messages; empty, it takes no room."""

    def __init__(self) -> None:
        super().__init__()
        self._layout = tight(QVBoxLayout(self), 2)
        self._shown: dict[str, tuple[QWidget, str]] = {}
        self.setVisible(False)

    def tell(
        self, topic: str, text: str, *actions: tuple[str, Callable[[], object]], sign: str = "⚠ "
    ) -> None:
        """Show a message in place of an earlier one on the same topic.

        Parameters
        ----------
        topic : str
        text : str
        *actions : (str, callable)
            Text of a button, and what it does besides dropping the message.
        sign : str
            Before the text; none where nothing is wrong.
        """
        self.drop(topic)

        def pressed(action: Callable[[], object]) -> None:
            self.drop(topic)
            action()

        buttons = [button(name, partial(pressed, action)) for name, action in actions]
        line = column(_Text(f"{sign}{text}"), row(*buttons, None))
        self._shown[topic] = (line, text)
        self._layout.addWidget(line)
        self.setVisible(True)

    def drop(self, topic: str) -> None:
        """Take a message away, if it is there."""
        line, _ = self._shown.pop(topic, (None, ""))
        if line is not None:
            self._layout.removeWidget(line)
            line.hide()
            line.deleteLater()
        self.setVisible(bool(self._shown))

    @property
    def topics(self) -> dict[str, str]:
        """What it says, by topic."""
        return {topic: text for topic, (_, text) in self._shown.items()}
