"""Decoding a snapshot of prompts: the part that takes time, on any thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace

from ..engine import Ask, Segmenter, Views
from ..progress import Progress
from .objects import ObjectPrompts
from .preview import DecodedObject, Preview, PreviewObject


@dataclass(frozen=True, slots=True, eq=False)
class DecodeItem:
    """One object to decode: its prompts, also as the segmenter takes them.

    Parameters
    ----------
    key : int
    prompts : ObjectPrompts
    ask : Ask
        With the window to decode in, and logits to refine, if any.
    reuse : DecodedObject, optional
        Masks of the same prompts, which need not be decoded again.
    """

    key: int
    prompts: ObjectPrompts
    ask: Ask
    reuse: DecodedObject | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DecodeRequest:
    """A snapshot of everything that decoding needs; made by `Session.request`.

    Parameters
    ----------
    revision : int
        Of the draft; negative for a look at what a point would give.
    plane : tuple of int
    items : tuple of DecodeItem
    segmenter : Segmenter
    views : Views
        The plane, with embeddings by view.
    fed_by : int or None
        The revision whose masks are refined.
    epoch : int
        Changes with the model and the settings.
    """

    revision: int
    plane: tuple[int, ...]
    items: tuple[DecodeItem, ...]
    segmenter: Segmenter
    views: Views
    fed_by: int | None = None
    epoch: int = 0

    @property
    def is_encoded(self) -> bool:
        """Whether it needs the mask decoder only, which is fast."""
        plan = self.segmenter.plan(self.views.shape)
        return all(item.reuse or self.views.find(plan.first_view(item.ask)) for item in self.items)


@dataclass(frozen=True, slots=True, eq=False)
class DecodeResult:
    """The result of `decode`.

    Parameters
    ----------
    revision : int
        Of the draft it belongs to.
    plane : tuple of int
    fingerprint : str
        Of the model.
    objects : tuple of DecodedObject
    fed_by : int or None
    seconds : float
        Computing time.
    epoch : int
    """

    revision: int
    plane: tuple[int, ...]
    fingerprint: str
    objects: tuple[DecodedObject, ...]
    fed_by: int | None = None
    seconds: float = 0.0
    epoch: int = 0
    nbytes: int = field(init=False)
    """Of masks and logits."""

    def __post_init__(self) -> None:
        bits = sum(len(mask.bits) for item in self.objects for mask in item.masks)
        logits = sum(item.logits.nbytes for item in self.objects if item.logits is not None)
        object.__setattr__(self, "nbytes", bits + logits)

    def preview(self) -> Preview:
        """Return the masks as a preview, each object's best candidate chosen."""
        return Preview(
            self.revision,
            self.plane,
            tuple(PreviewObject.of(item, item.best) for item in self.objects),
        )


def decode(
    request: DecodeRequest, cancelled: Callable[[], bool] = lambda: False
) -> Generator[Progress, None, DecodeResult | None]:
    """Decode a request, on any thread; several may run at a time.

    Parameters
    ----------
    request : DecodeRequest
        From `Session.request` or `Session.hover_request`.
    cancelled : callable
        Asked before every step that takes time.

    Yields
    ------
    Progress
        Before every step.

    Returns
    -------
    DecodeResult or None
        For `Session.accept`; None if it was cancelled.
    """
    began = time.perf_counter()
    done: dict[int, DecodedObject] = {
        item.key: replace(item.reuse, key=item.key) for item in request.items if item.reuse
    }
    waiting = [item for item in request.items if item.reuse is None]
    found = yield from request.segmenter.steps(
        request.views,
        [item.ask for item in waiting],
        cancelled,
        peek=request.revision < 0,
    )
    if found is None:
        return None
    for item, each in zip(waiting, found, strict=True):
        # logits of a batch would be large, and nobody goes on with them
        logits = each.logits if len(request.items) == 1 else None
        done[item.key] = DecodedObject(
            item.key, item.prompts, each.asked, each.embedding.window,
            each.masks, each.scores, each.best, logits, each.view,
        )  # fmt: skip
    return DecodeResult(
        request.revision,
        request.plane,
        request.segmenter.predictor.model.fingerprint,
        tuple(done[item.key] for item in request.items),
        request.fed_by,
        time.perf_counter() - began,
        request.epoch,
    )
