"""Images of any size: tiles, stitching, runs that go on where they stopped, Dask clusters."""

from .grid import TileGrid
from .ledger import TileStatus
from .plan import LargePlan
from .planning import plan_large
from .redecoding import redecode
from .result import LargeResult, LargeView, TileFailure
from .run import open_large, segment_large, segment_large_steps

__all__ = [
    "LargePlan",
    "LargeResult",
    "LargeView",
    "TileStatus",
    "TileFailure",
    "TileGrid",
    "open_large",
    "plan_large",
    "redecode",
    "segment_large",
    "segment_large_steps",
]
