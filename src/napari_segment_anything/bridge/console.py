"""A viewer's session for scripts and napari's console: the one that the widget uses too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ..errors import ParameterError
from .viewer_session import ViewerSession

if TYPE_CHECKING:
    from napari.components import ViewerModel

# Only the viewer's own callback lists keep its session alive.
_sessions: WeakValueDictionary[int, ViewerSession] = WeakValueDictionary()


def attach(viewer: ViewerModel | None = None, **options: Any) -> ViewerSession:
    """Return the annotation session of a viewer; start one if there is none.

    The "Segment Anything" widget uses the same session: what a script adds shows in the widget, and
    vice versa.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel, optional
        By default napari's current viewer.
    **options
        As for `ViewerSession`: model, predictor, image, target, run, and its `OPTIONS`. Options
        given to a session that exists already change it.

    Raises
    ------
    ParameterError
        If there is no viewer, or an option is unknown.

    Examples
    --------
    >>> session = nsa.attach(viewer)                                # doctest: +SKIP
    >>> session.add_point([126, 103])                               # doctest: +SKIP
    >>> session.add_point([130, 95], positive=False)                # doctest: +SKIP
    >>> session.commit()                                            # doctest: +SKIP
    (1,)
    """
    if viewer is None:
        import napari

        viewer = napari.current_viewer()
        if viewer is None:
            raise ParameterError("there is no napari viewer; pass one: attach(viewer)")
    viewer = getattr(viewer, "__wrapped__", viewer)
    if not hasattr(viewer, "layers") or not hasattr(viewer, "dims"):
        raise ParameterError(
            f"{type(viewer).__name__} is not a napari viewer; pass one: attach(viewer)"
        )
    session = _sessions.get(id(viewer))
    if session is None or session.is_closed or session.viewer is not viewer:
        session = ViewerSession(viewer, **options)
        _sessions[id(viewer)] = session
        return session
    if "model" in options or "predictor" in options:
        session.set_model(options.pop("model", "default"), predictor=options.pop("predictor", None))
    if "image" in options:
        session.set_image(options.pop("image"))
    if "target" in options:
        session.set_target(options.pop("target"))
    if "run" in options:
        session.set_runner(options.pop("run"))
    session.set_options(**options)
    return session
