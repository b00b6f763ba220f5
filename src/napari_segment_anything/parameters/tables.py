"""The tables themselves; `parameters` says what each is for."""

from __future__ import annotations

from .parameter import Parameter

MODES = ("grid", "proposals", "instances")
POLICIES = ("small", "score", "large")
_DECODER = ("grid", "proposals")
_DENSE = ("proposals", "instances")

# fmt: off
RUN: dict[str, Parameter] = {
    "mode": Parameter(
        "auto", str, "Mode",
        "How objects are found: at a grid of points (grid, as in the paper), at the model's own "
        "proposals (proposals), from its dense output without prompts (instances), or the way that "
        "validates best for the model (auto).",
        choices=("auto", *MODES),
    ),
    "policy": Parameter(
        "small", str, "Overlaps",
        "Which mask keeps a pixel that several cover: the smaller one, so that parts stay visible "
        "on wholes; the one with the better score; or the larger one.",
        choices=POLICIES,
    ),
}

EVERYTHING: dict[str, Parameter] = {
    "points_per_side": Parameter(
        32, int, "Points per side",
        "Points along one side of the grid.",
        low=1, high=1024, modes=("grid",),
    ),
    "points_per_batch": Parameter(
        64, int, "Batch",
        "Prompts decoded together; more need more memory.",
        low=1, high=65536, unit="prompts", modes=_DECODER,
    ),
    "pred_iou_thresh": Parameter(
        0.88, float, "Score above",
        "Keep masks with a predicted IoU above this.",
        low=0, high=1, filter=True, mode_defaults={"instances": 0.0},
    ),
    "stability_score_thresh": Parameter(
        0.95, float, "Stability from",
        "Keep masks with at least this stability score.",
        low=0, high=1, filter=True, mode_defaults={"instances": 0.0},
    ),
    "stability_score_offset": Parameter(
        1.0, float, "Stability offset",
        "Offset of the logit threshold that stability is measured with.",
        low=0, high=100,
    ),
    "box_nms_thresh": Parameter(
        0.7, float, "Overlap up to",
        "Largest overlap (IoU) of two masks from the same crop.",
        low=0, high=1, filter=True, mode_defaults={"instances": 1.0},
    ),
    "crop_n_layers": Parameter(
        0, int, "Layers of crops",
        "Layers of crops to segment as well; layer n has 2^n x 2^n crops.",
        low=0, high=6,
    ),
    "reduced_n_layers": Parameter(
        0, int, "Reduced layers",
        "Layers that show the whole image reduced by 2^n, for objects that fill it.",
        low=0, high=4, modes=("instances",),
    ),
    "symmetries": Parameter(
        1, int, "Symmetric views",
        "Flipped and rotated views to average dense maps over; run time grows in proportion.",
        low=1, high=8, modes=_DENSE, head="dense",
    ),
    "crop_nms_thresh": Parameter(
        0.7, float, "Crop overlap",
        "Largest overlap (IoU) of two masks from different crops.",
        low=0, high=1, filter=True, mode_defaults={"instances": 0.5},
    ),
    "crop_choice": Parameter(
        "all", str, "Crop layers",
        "Whether masks of all crop layers are kept, or of the layer that explains most of the "
        "image.",
        choices=("all", "best"), modes=("instances",), filter=True,
    ),
    "crop_overlap_ratio": Parameter(
        512 / 1500, float, "Crops share",
        "Overlap of crops in the first layer, as a fraction of the image's shorter side.",
        low=0, high=0.99,
    ),
    "crop_n_points_downscale_factor": Parameter(
        1, int, "Fewer points",
        "Factor that points_per_side is divided by for each crop layer.",
        low=1, high=1024, modes=("grid",),
    ),
    "point_grids": Parameter(
        None, object, "Point grids",
        "One list of (x, y) points in 0..1 for each crop layer, instead of points_per_side.",
        otherwise="points_per_side", modes=("grid",), metavar="FILE",
    ),
    "min_mask_region_area": Parameter(
        0, int, "Clean below",
        "Fill holes and drop islands with fewer pixels than this.",
        low=0, high=2**31, unit="pixels", filter=True,
    ),
    "min_area": Parameter(
        0, int, "Area from",
        "Drop masks with fewer pixels than this.",
        low=0, high=2**40, unit="pixels", filter=True,
    ),
    "max_area": Parameter(
        None, int, "Area up to",
        "Drop masks with more pixels than this.",
        low=1, high=2**40, unit="pixels", otherwise="no limit", filter=True,
    ),
    "nms": Parameter(
        "box", str, "Overlap of",
        "Whether overlap is measured on bounding boxes (as published) or on masks.",
        choices=("box", "mask"), filter=True,
    ),
    "pred_iou_floor": Parameter(
        None, float, "Score floor",
        "Keep masks down to this predicted IoU for later filtering.",
        low=0, high=1, otherwise="0.2 below the threshold", modes=_DECODER,
    ),
    "stability_score_floor": Parameter(
        None, float, "Stability floor",
        "Keep masks down to this stability for later filtering.",
        low=0, high=1, otherwise="0.2 below the threshold", modes=_DECODER,
    ),
    "proposal_prompt": Parameter(
        "point", str, "Prompt by",
        "What the decoder is prompted with at a proposal.",
        choices=("point", "box", "both"), modes=("proposals",),
    ),
    "foreground_thresh": Parameter(
        0.5, float, "Foreground",
        "Lowest foreground probability of an object's pixels.",
        low=0.001, high=0.999, modes=("instances",),
    ),
    "peak_thresh": Parameter(
        0.4, float, "Peak height",
        "Lowest peak of the interior map that counts as a proposal.",
        low=0, high=1, modes=_DENSE, head="dense",
    ),
    "peak_nms_thresh": Parameter(
        0.35, float, "Peak overlap",
        "Largest overlap (IoU) of the boxes predicted at two proposals.",
        low=0, high=1, modes=_DENSE, head="dense",
    ),
    "agreement_thresh": Parameter(
        0.2, float, "Agreement",
        "Lowest IoU of the box predicted at a pixel with that of its object.",
        low=0, high=1, modes=("instances",), head="dense",
    ),
    "merge_thresh": Parameter(
        0.85, float, "Merge above",
        "Merge neighbours where the interior map between them reaches this fraction of their "
        "peaks; 1 merges none.",
        low=0, high=1, modes=("instances",), head="dense",
    ),
    "center_distance_thresh": Parameter(
        0.5, float, "Centre distance",
        "Seeds lie where the centre map is below this (0 at the centre, 1 far from it).",
        low=0, high=1, modes=("instances",), head="distances",
    ),
    "boundary_distance_thresh": Parameter(
        0.5, float, "Boundary distance",
        "Seeds lie where the boundary map is below this (0 well inside, 1 at the boundary).",
        low=0, high=1, modes=("instances",), head="distances",
    ),
    "foreground_smoothing": Parameter(
        1.0, float, "Smooth foreground",
        "Gaussian smoothing (sigma) of the foreground map, in frame pixels.",
        low=0, high=100, unit="frame pixels", modes=("instances",), head="distances",
    ),
    "distance_smoothing": Parameter(
        1.6, float, "Smooth distances",
        "Gaussian smoothing (sigma) of the distance maps, in frame pixels.",
        low=0, high=100, unit="frame pixels", modes=("instances",), head="distances",
    ),
}

FINDING: dict[str, Parameter] = {
    "likeness_thresh": Parameter(
        None, float, "Likeness from",
        "Keep masks that are what was looked for with at least this probability.",
        low=0, high=1, otherwise="what suits the finder", modes=("find",), filter=True,
    ),
    "crop_scales": Parameter(
        (1.0, 1.5, 2.0), object, "Crops",
        "Sides of the crops that a mask is compared with words in, relative to its box; the mean "
        "of all counts.",
        modes=("likeness",), metavar="F[,F...]",
    ),
    "background": Parameter(
        "both", str, "Surroundings",
        "Whether these crops show what surrounds the mask, are blank there, or both in turn.",
        choices=("both", "keep", "blank"), modes=("likeness",),
    ),
    "against": Parameter(
        ("background", "something else"), object, "Against",
        "What else there may be, in words; the likeness is the probability that the words looked "
        "for are right, and none of these.",
        modes=("likeness",), metavar="WORDS[,WORDS...]",
    ),
}

LINKING: dict[str, Parameter] = {
    "link": Parameter(
        None, str, "Join by",
        "How objects are joined from plane to plane: found in 3-D from planes along all three axes "
        "(3d; needs a model with a dense head), by overlap, or as tracks with divisions "
        "(time-lapses).",
        choices=("3d", "overlap", "track"),
        otherwise="track along T; 3d from 16 planes on, where the model can; else overlap",
    ),
    "link_thresh": Parameter(
        None, float, "Overlap from",
        "Lowest overlap (IoU) of an object on two planes, relative to that of a ball; for tracks, "
        "the overlap at which objects are linked at any distance.",
        low=0, high=1, above=True, otherwise="0.3; tracks: 0.1", modes=("overlap", "track"),
    ),
    "max_gap": Parameter(
        1, int, "Gaps up to",
        "Planes in a row that an object may be missing from.",
        low=0, high=1000, unit="planes", modes=("overlap", "track"),
    ),
    "min_extent": Parameter(
        None, int, "Planes from",
        "Drop objects that span fewer planes than this.",
        low=1, high=10**6, unit="planes", otherwise="2; tracks: 1",
    ),
    "anisotropy": Parameter(
        None, float, "Anisotropy",
        "Distance between planes, in pixels of a plane.",
        low=0, above=True, otherwise="what the file says", modes=("3d", "overlap"),
    ),
    "max_distance": Parameter(
        None, float, "Moves up to",
        "Largest movement of an object between two frames.",
        low=0, above=True, unit="pixels", otherwise="found from the data", modes=("track",),
    ),
    "divisions": Parameter(
        None, bool, "Divisions",
        "Detect divisions.",
        otherwise="yes", modes=("track",),
    ),
    "fill_gaps": Parameter(
        None, bool, "Fill gaps",
        "Draw objects on the planes of a gap as well.",
        otherwise="with overlap only", modes=("overlap", "track"),
    ),
}

FOLLOWING: dict[str, Parameter] = {
    "direction": Parameter(
        "both", str, "Direction",
        "Where to follow objects to, from the planes with prompts.",
        choices=("both", "forward", "backward"),
    ),
    "method": Parameter(
        "auto", str, "Method",
        "What objects are followed by: the model's memory of them (memory), the instances of its "
        "dense head (dense), prompts made from the plane before (decoder), or the first of these "
        "that the model can do (auto).",
        choices=("auto", "memory", "dense", "decoder"),
    ),
    "pred_iou_thresh": Parameter(
        0.15, float, "Score from",
        "An object ends where its predicted IoU (method dense: its score) is lower.",
        low=0, high=1, modes=("dense", "decoder"),
    ),
    "overlap_thresh": Parameter(
        0.15, float, "Overlap from",
        "An object ends where it overlaps less (IoU) with the plane before.",
        low=0, high=1, modes=("dense", "decoder"),
    ),
    "max_area_change": Parameter(
        6.0, float, "Area change",
        "An object ends where its area changes by more than this factor.",
        low=1, above=True, modes=("dense", "decoder"),
    ),
    "likeness_thresh": Parameter(
        0.35, float, "Likeness from",
        "An object ends where it looks less like itself on the planes with prompts; 1 is the same, "
        "0 is background.",
        low=0, high=1, modes=("dense", "decoder"),
    ),
    "stiffness": Parameter(
        12.0, float, "Stiffness",
        "Weight of the outline on other planes against what is seen on this one; 0 ignores it.",
        low=0, modes=("dense", "decoder"),
    ),
    "anisotropy": Parameter(
        None, float, "Anisotropy",
        "Distance between planes, in pixels of a plane; the larger, the sooner objects end.",
        low=0, above=True, otherwise="what the file says", modes=("dense",),
    ),
    "window_size": Parameter(
        None, int, "Window",
        "Side of the window encoded around an object, on planes larger than that.",
        low=1, high=65536, unit="pixels", otherwise="what suits model and object",
    ),
}

TILING: dict[str, Parameter] = {
    "tile": Parameter(
        None, int, "Tile",
        "Side of a tile.",
        low=64, high=65536, unit="pixels", otherwise="the model's frame",
    ),
    "overlap": Parameter(
        None, int, "Overlap",
        "Overlap of neighbouring tiles.",
        low=0, high=32768, unit="pixels", otherwise="an eighth of the tile",
    ),
    "region": Parameter(
        None, object, "Region",
        "Part of every plane to segment.",
        otherwise="all", metavar="R0,C0,R1,C1",
    ),
    "oversize": Parameter(
        "merge", str, "Large objects",
        "Objects that no tile sees whole: merge their pieces, or prompt for them again with a box "
        "(redecode).",
        choices=("merge", "redecode"),
    ),
    "empty_thresh": Parameter(
        4.0, float, "Empty below",
        "Tiles that vary by fewer grey levels (of 255) are skipped as empty; 0 skips none.",
        low=0, high=255, unit="levels",
    ),
    "workers": Parameter(
        None, int, "Threads",
        "Number of threads on this machine.",
        low=1, unit="threads", otherwise="one per core",
    ),
    "scheduler": Parameter(
        "threads", str, "Scheduler",
        "Where tiles are segmented: threads of this machine, or the address of a Dask scheduler.",
        metavar="ADDRESS",
    ),
    "worker_resources": Parameter(
        None, object, "Resources",
        "Dask resources that a tile needs.",
        otherwise="nothing", metavar="NAME=N[,NAME=N]",
    ),
    "retries": Parameter(
        2, int, "Retries",
        "How often a failed tile is tried again.",
        low=0, high=100, unit="times",
    ),
}

PROMPTING: dict[str, Parameter] = {
    "multimask": Parameter(
        "auto", object, "Candidates",
        "Whether the best of three masks (whole, part, subpart) or the network's single mask is "
        "taken; auto takes the best of three for a single point.",
    ),
    "min_mask_region_area": Parameter(
        None, float, "Clean below",
        "Fill holes and drop islands with fewer pixels than this.",
        low=0, high=2**31, unit="pixels", otherwise="what the model carries",
    ),
    "window_size": Parameter(
        None, int, "Window",
        "Side of the window encoded around a prompt.",
        low=1, high=65536, unit="pixels", otherwise="what suits model and image",
    ),
}

REFINING: dict[str, Parameter] = {
    "prompt": Parameter(
        "auto", str, "Prompt with",
        "What the model is prompted with where an object has a mask: its box, the mask, or both; "
        "auto is what validates best.",
        choices=("auto", "box", "mask", "box+mask"),
    ),
    "components": Parameter(
        False, bool, "Connected parts",
        "Take each connected part of a label image as an object, whatever its value.",
    ),
}
# fmt: on
