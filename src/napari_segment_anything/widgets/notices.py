"""Messages that stay until they are dismissed, with buttons for what can be done about them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from .qt_helpers import button, column, row, tight

_ONE_LINE = 28
"""Number of characters that fit beside two buttons."""


class _Text(QLabel):
    """A wrapped sentence that is never cut off."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)

    def resizeEvent(self, event: Any) -> None:
        """Reserve the height that the text needs at this width; nested layouts do not."""
        super().resizeEvent(event)
        self.setMinimumHeight(self.heightForWidth(self.width()))


class Notices(QWidget):
    """A list of messages; takes no space while it is empty."""

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
            Text of a button, and what it does besides removing the message.
        sign : str
            Printed before the text; empty where nothing is wrong.
        """
        self.drop(topic)

        def pressed(action: Callable[[], object]) -> None:
            self.drop(topic)
            action()

        buttons = [button(name, partial(pressed, action)) for name, action in actions]
        words = _Text(f"{sign}{text}")
        if len(text) <= _ONE_LINE:
            line = row(words, *buttons)
            line.layout().setStretch(0, 1)
        else:
            line = column(words, row(*buttons, None))
        self._shown[topic] = (line, text)
        self._layout.addWidget(line)
        self.setVisible(True)

    def drop(self, topic: str) -> None:
        """Remove a message, if it is shown."""
        line, _ = self._shown.pop(topic, (None, ""))
        if line is not None:
            self._layout.removeWidget(line)
            line.hide()
            line.deleteLater()
        self.setVisible(bool(self._shown))

    @property
    def topics(self) -> dict[str, str]:
        """The texts shown, by topic."""
        return {topic: text for topic, (_, text) in self._shown.items()}
