"""What a console prints of an object: one line that says what it is, and no pixels or weights."""

from __future__ import annotations

import numpy as np
import pytest

import napari_segment_anything as nsa


@pytest.mark.weights
def test_a_console_prints_one_line() -> None:
    image = nsa.sample("coins").image[20:92, 10:82]  # one coin
    model = nsa.load_model("default", device="cpu")
    predictor = nsa.Predictor(model)
    prompts = nsa.Prompts.from_points([[34, 34], [2, 2]], labels=[1, 0])
    segmenter = nsa.Segmenter(predictor)
    [found] = segmenter.segment(image, prompts)
    embedding = predictor.embed(image)
    table = nsa.segment_everything(
        image, model, mode="grid", points_per_side=1, pred_iou_thresh=0, stability_score_thresh=0
    )
    labels = table.to_labels()
    stack = nsa.StackResult(labels[None], {"label": np.array([1])}, failed={(2,): "damaged"})
    followed = nsa.PropagationResult(labels[None], {}, {1: (0,)}, {}, {}, (0,), (0,))
    shown = f"<Model default: micro on cpu, {model.precision}>"
    at = found.mask.window
    place = f"[{at.row}:{at.row + at.height}, {at.col}:{at.col + at.width}]"
    lines = {
        "<Sample coins: YX 303 x 384 uint8>": nsa.sample("coins"),
        shown: model,
        "<Checkpoint default: micro>": nsa.load_checkpoint("default"),
        f"<Predictor: {shown}>": predictor,
        f"<Segmenter: {shown}>": segmenter,
        "<Prompts of 1 object: 2 points>": prompts,
        f"<PlacedMask: {found.mask.area} pixels in {place}>": found.mask,
        f"<Segmented: score {found.score:.3f}, {found.mask!r}>": found,
        f"<Embedding of {embedding.window} of 72 x 72, {model.precision}>": embedding,
        "<Prediction: 1 object, 3 masks each, 72 x 72>": predictor.predict(embedding, prompts),
        f"<Candidates: {len(table.candidates)} on 72 x 72 pixels>": table.candidates,
        f"<CandidateTable: 3 objects, of {table.candidates!r}>": table,
        "<StackResult: 1 object in 1 x 72 x 72 pixels, 1 plane failed>": stack,
        "<PropagationResult: 1 object in 1 x 72 x 72 pixels>": followed,
    }
    assert [repr(each) for each in lines.values()] == list(lines)
    assert all(len(repr(entry)) < 250 for entry in nsa.catalogue().values())
