"""What is looked for, settled once for many images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..automatic import Filters
from ..engine import Model
from ..errors import ParameterError
from .choosing import FinderOptions, choose_finder
from .finder import Finder
from .loading import FinderModel
from .query import Query


@dataclass(frozen=True, slots=True, eq=False)
class Concept:
    """What is looked for, and by what.

    Parameters
    ----------
    query : Query
        Its examples, if any, lie in the image that is searched.
    finder : Finder
    filters : Filters
        Of the result.
    parameters : mapping
        Of the finder, and the words.
    learned : object, optional
        What the finder learned from examples in another image.
    """

    query: Query
    finder: Finder
    filters: Filters
    parameters: Mapping[str, Any] = field(default_factory=dict)
    learned: Any = None

    @classmethod
    def of(
        cls,
        query: Query,
        model: Model,
        finder: Finder | FinderModel | str | Path | None,
        likeness_thresh: float | None,
        parameters: Mapping[str, Any],
    ) -> Concept:
        """Choose the finder.

        Parameters
        ----------
        query : Query
        model : Model
            The model that segments.
        finder, likeness_thresh, parameters
            As for `find_steps`.

        Raises
        ------
        ParameterError
            If there is none, or a parameter is wrong.
        """
        options = FinderOptions.of({**parameters, "likeness_thresh": likeness_thresh})
        chosen = choose_finder(query, model, finder, options)
        used = {**options.everything, **options.finding, "words": query.words}
        return cls(query, chosen, options.filters(chosen), used)

    def check_elsewhere(self) -> None:
        """Raise `ParameterError` if examples are of no use in other images."""
        if self.query.examples and not self.query.words and not self.finder.elsewhere:
            raise ParameterError(
                f"{self.finder.name} finds what is like examples only in their own plane; add "
                "words, or give another finder"
            )

    @property
    def elsewhere(self) -> Concept:
        """The same in an image that does not show the examples."""
        learned = self.learned if self.finder.elsewhere else None
        return replace(self, query=Query(self.query.words), learned=learned)
