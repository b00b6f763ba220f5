"""Images of any size: tiles, stitching, runs that can be stopped and resumed, Dask clusters."""

from .grid import TileGrid
from .ledger import TileStatus
from .plan import LargePlan, plan_large
from .redecoding import redecode
from .result import LargeResult, LargeView, TileFailure, open_large
from .run import segment_large, segment_large_steps

__all__ = [
    "LargePlan",
    "LargeResult",
    "LargeView",
    "TileFailure",
    "TileGrid",
    "TileStatus",
    "open_large",
    "plan_large",
    "redecode",
    "segment_large",
    "segment_large_steps",
]
