"""Take the picture of the console page: `python docs/console_picture.py` (needs a display)."""

from __future__ import annotations

from pathlib import Path

import napari
from qtpy.QtTest import QTest

import napari_segment_anything as nsa

PICTURE = Path(__file__).parent / "images" / "console.png"


def main() -> None:
    """Open the coins, commit some, begin another, save the window."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1150, 700)
    viewer.add_image(nsa.sample("coins").image, name="coins")
    session = nsa.attach(viewer)
    for inside in ([125, 103], [124, 206], [51, 156], [53, 273]):
        session.add_point(inside)
        session.commit()
    session.add_point([195, 275])
    session.add_point([165, 235], positive=False)
    QTest.qWait(1000)
    viewer.screenshot(str(PICTURE), canvas_only=False, flash=False)
    session.close()
    viewer.close()


if __name__ == "__main__":
    main()
