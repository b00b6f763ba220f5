"""The public functions, called with what is no argument of theirs: one clear error each."""

from __future__ import annotations

import numpy as np
import pytest

import napari_segment_anything as nsa
from napari_segment_anything.checkpoints import transfer

from .tiny import tiny_model

WRONG = [
    None, [], {}, (), "x", b"x", 5, -1, True, float("nan"), object(), lambda: 1, np.zeros(3),
    np.zeros((0, 5)), "../x", "http://", "\0", 10**30,
]  # fmt: skip
IMAGE = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def predictor(model):
    return nsa.Predictor(model)


@pytest.fixture(scope="module")
def embedding(predictor):
    return predictor.embed(IMAGE)


CALLS = {
    "load_model": lambda v, m, p, e: nsa.load_model(v),
    "load_checkpoint": lambda v, m, p, e: nsa.load_checkpoint(v),
    "download": lambda v, m, p, e: nsa.download(v),
    "read_image": lambda v, m, p, e: nsa.read_image(v),
    "sample": lambda v, m, p, e: nsa.sample(v),
    "embed": lambda v, m, p, e: p.embed(v),
    "embed_window": lambda v, m, p, e: p.embed(IMAGE, window=v if v is not None else 0),
    "predict_embedding": lambda v, m, p, e: p.predict(v, nsa.Prompts.from_points([[[1, 1]]])),
    "predict_prompts": lambda v, m, p, e: p.predict(e, v),
    "prompts": lambda v, m, p, e: nsa.Prompts(v, v, v),
    "window": lambda v, m, p, e: nsa.Window(v, 0, v, 0),
    "everything_image": lambda v, m, p, e: nsa.segment_everything(v, m),
    "everything_model": lambda v, m, p, e: nsa.segment_everything(IMAGE, v),
    "find_image": lambda v, m, p, e: nsa.find(v, examples=[[1, 1, 9, 9]], model=m),
    "find_words": lambda v, m, p, e: nsa.find(IMAGE, 5 if isinstance(v, str) else v, m),
    "find_examples": lambda v, m, p, e: nsa.find(IMAGE, model=m, examples=v),
    "find_stack": lambda v, m, p, e: nsa.find_stack(v, examples=[[1, 1, 9, 9]], model=m),
    "load_finder": lambda v, m, p, e: nsa.load_finder(v),
    "large_image": lambda v, m, p, e: nsa.segment_large(v, "o.zarr", m),
    "large_output": lambda v, m, p, e: nsa.segment_large(IMAGE, v, m),
    "plan_image": lambda v, m, p, e: nsa.plan_large(v, model=m),
    "open_large": lambda v, m, p, e: nsa.open_large(v),
    "redecode": lambda v, m, p, e: nsa.redecode(v, v, v),
    "stack_image": lambda v, m, p, e: nsa.segment_stack(v, m),
    "stack_model": lambda v, m, p, e: nsa.segment_stack(np.stack([IMAGE] * 2), v),
    "propagate": lambda v, m, p, e: nsa.propagate(np.stack([IMAGE] * 2), v, m),
    "train": lambda v, m, p, e: nsa.train(v),
    "save_checkpoint": lambda v, m, p, e: nsa.save_checkpoint(v, v),
    "finish": lambda v, m, p, e: nsa.finish(v),
    "attach": lambda v, m, p, e: nsa.attach(v if v is not None else 0),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_wrong_arguments_are_told_by_an_error_of_this_package(
    name, model, predictor, embedding, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    for value in WRONG:
        if name == "large_output" and isinstance(value, str) and value.strip("./") == "x":
            continue  # a place like any other
        try:
            CALLS[name](value, model, predictor, embedding)
        except nsa.SegmentAnythingError as error:
            assert str(error), (name, value)  # noqa: PT017
        else:
            pytest.fail(f"{name}({value!r}) raised nothing")
