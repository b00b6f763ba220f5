"""Learning from a project: annotation, versions, stopping and resuming, other processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_segment_anything import load_model
from napari_segment_anything.errors import ParameterError, ResourceError
from napari_segment_anything.formats.locking import exclusive
from napari_segment_anything.formats.rle import encode_labels
from napari_segment_anything.progress import finish
from napari_segment_anything.projects import Project, Suggestions
from napari_segment_anything.projects import learning_data as data
from napari_segment_anything.projects.learning import can_resume, learn_steps
from napari_segment_anything.projects.learning_options import default_steps
from napari_segment_anything.projects.learning_process import (
    cancel_learning,
    learning_status,
    main,
    start_learning,
)
from napari_segment_anything.projects.learning_status import LOCK, read_curves, work_folder
from napari_segment_anything.training.estimate import Estimate
from napari_segment_anything.training.seen import BESIDE, REJECTED, SEEN, UNSEEN
from tests.training.small import disks, stored


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    coarse = {"grid": {"points_per_side": 8}}
    return stored(tmp_path_factory.mktemp("weights"), everything=coarse)


@pytest.fixture
def annotated(tmp_path, weights) -> Project:
    """Six images of disks; the first two are annotated, one of them in part."""
    return series(tmp_path, weights, complete=(0,), partial=(1,))


def series(folder: Path, weights: Path, complete=(), partial=()) -> Project:
    raw = folder / "raw"
    raw.mkdir()
    for number in range(6):
        Image.fromarray(disks(number, 96, 6)[0]).save(raw / f"d{number}.png")
    project = Project.create(folder / "project", raw, model=str(weights))
    for number in complete:
        annotate(project, number)
    for number in partial:
        annotate(project, number, part=True)
    return project


def annotate(project: Project, number: int, part: bool = False) -> None:
    labels = disks(number, 96, 6)[1]
    with project.image(f"d{number}").lock() as editing:
        if part:
            editing.write(labels=labels * (labels < 3), state="in_progress")
        else:
            editing.write(labels=labels, state="complete")


def learn(project: Project, **options):
    return finish(learn_steps(project, steps=3, device="cpu", **options))


@pytest.mark.slow
def test_a_version_says_what_it_learned_from(annotated):
    steps, learning = [], learn_steps(annotated, steps=3, device="cpu")
    for step in learning:
        steps.append(step)
    (version,) = annotated.versions
    learned = version.learned()
    images = {image["key"]: image for image in learned["images"]}
    assert set(images) == {"d0", "d1"} and images["d0"]["complete"] and not images["d1"]["complete"]
    assert images["d1"]["objects"] == [1, 2] and learned["steps"] == 3 and learned["base"] == ""
    assert learned["note"] == "no image is held out until 4 are complete; 1 are"
    predicted = next(i for i, s in enumerate(steps) if s.message == "predicted")
    assert isinstance(steps[predicted].partial, Estimate) and steps[predicted].partial.memory > 0
    assert load_model(version.path).fingerprint != learned["fingerprint"]
    assert (version.folder / "card.md").exists() and (version.folder / "train.csv").exists()
    status = learning_status(annotated.folder)
    assert status.state == "done" and status.version == "v1" and status.predicted_seconds > 0


@pytest.mark.slow
def test_the_project_goes_back_and_forth_between_versions(annotated):
    first = annotated.model
    learn(annotated)
    assert annotated.model == first  # until it is chosen
    annotated.set_model("v1")
    learn(annotated)
    assert [v.name for v in annotated.versions] == ["v1", "v2"]
    assert annotated.versions[1].learned()["base"] == "v1"
    annotated.set_model(first)
    assert annotated.model_path() == first and len(annotated.versions) == 2


@pytest.mark.slow
def test_images_are_held_out_once_there_are_enough_and_measured_before_and_after(tmp_path, weights):
    project = series(tmp_path, weights, complete=range(5))
    version = learn(project)
    learned = version.learned()
    held = [image["key"] for image in learned["images"] if image["part"] == "held_out"]
    assert len(held) == 1 and project.image(held[0]).held_out
    assert learned["note"] == "1 of 5 complete images is held out"
    for when in ("before", "after"):
        assert set(learned[when]) == {"ap50", "ap", "point", "box"}
    assert (version.folder / "pictures" / f"{held[0]}.png").exists()
    annotate(project, 5)
    parts, _ = data.choose_parts(project)
    assert [image.key for image, part in parts if part == "held_out"] == held  # the others are used


def test_images_learned_from_are_never_held_out(tmp_path, weights):
    project = series(tmp_path, weights, complete=range(5))
    images = [{"key": f"d{number}", "part": "train"} for number in range(3)]
    with project.new_version() as folder:
        (folder / "model.safetensors").touch()
        (folder / "learned.json").write_text(json.dumps({"images": images}), "utf-8")
    parts, _ = data.choose_parts(project)
    held = {image.key for image, part in parts if part == "held_out"}
    assert len(held) == 1 and held <= {"d3", "d4"}


def test_with_a_share_of_nothing_no_image_is_held_out(tmp_path, weights):
    project = series(tmp_path, weights, complete=range(5))
    project.configure(held_out_share=0.0)
    parts, note = data.choose_parts(project)
    assert len(parts) == 5 and {part for _, part in parts} == {"train"}
    assert note == "no image is held out, as the project is set"


def test_skipped_and_flagged_images_are_left_out(annotated):
    with annotated.image("d0").lock() as editing:
        editing.set_state("flagged", "out of focus")
    with annotated.image("d1").lock() as editing:
        editing.set_state("skipped")
    with pytest.raises(ParameterError, match="label some objects first"):
        learn(annotated)


def test_copies_hold_what_was_seen_and_renumbered_labels(annotated, tmp_path):
    image = annotated.image("d1")
    labels = image.labels()
    labels[labels == 2] = 2**30
    row, col = np.argwhere(labels == 0)[-1]
    with image.lock() as editing:
        editing.write(labels=labels)
        editing.add_negatives([[row, col]])
        editing.add_complete_region((0, 0, 20, 20))
    made = data.copy_annotation(image, "train", tmp_path)
    assert made.objects == (1, 2**30) and made.regions == 1 and made.negatives == 1
    ((pixels, copied, levels),) = data.read_copies(tmp_path, [made], "train")
    assert pixels.shape == (96, 96, 3) and copied.max() == 2
    assert (
        levels[row, col] == SEEN and (levels[:20, :20] == SEEN).all() and (levels == UNSEEN).any()
    )


def test_rejected_suggestions_are_background_and_open_ones_are_undecided(annotated, tmp_path):
    image = annotated.image("d1")
    labels, beside, apart = (np.zeros((96, 96), np.int32) for _ in range(3))
    labels[40:60, 40:60] = beside[40:60, 60:68] = apart[:6, :6] = 1
    suggestions = Suggestions.from_masks(
        [encode_labels(mask)[1] for mask in (beside, apart)], [0.9, 0.8], labels.shape
    )
    with image.lock() as editing:
        editing.write(labels=labels, suggestions=suggestions.decide([2], "rejected"))
    made = data.copy_annotation(image, "train", tmp_path)
    ((_, _, levels),) = data.read_copies(tmp_path, [made], "train")
    assert (levels[apart > 0] == REJECTED).all() and (levels[beside > 0] == BESIDE).any()
    assert (levels[beside > 0] < SEEN).all()


def test_of_large_images_windows_with_annotation_are_copied(monkeypatch):
    monkeypatch.setattr(data, "SIDE", 100)
    relevant = np.zeros((250, 330), bool)
    relevant[120, 20] = relevant[240, 320] = True
    windows = list(data.windows_of(relevant))
    assert [(row.start, col.start) for row, col in windows] == [(100, 0), (150, 230)]
    assert all(relevant[window].shape == (100, 100) for window in windows)
    assert list(data.windows_of(relevant[:, 300:])) == [(slice(150, 250), slice(0, 30))]


@pytest.mark.slow
def test_stopped_learning_goes_on_with_what_it_began_with(annotated):
    learning = learn_steps(annotated, steps=4, device="cpu")
    while next(learning).done < 2:
        pass
    learning.close()
    assert learning_status(annotated.folder).state == "stopped" and can_resume(annotated)
    assert read_curves(annotated.folder)["train"]
    annotate(annotated, 2)  # made since
    messages = [step.message for step in learn_steps(annotated, device="cpu")]
    assert not any(message.startswith("reading d") for message in messages)
    learned = annotated.versions[0].learned()
    assert learned["steps"] == 4 and {i["key"] for i in learned["images"]} == {"d0", "d1"}
    assert not can_resume(annotated)


@pytest.mark.slow
def test_a_restart_takes_the_present_annotation(annotated):
    learning = learn_steps(annotated, steps=40, device="cpu")
    while "timing" not in next(learning).message:
        pass
    learning.close()
    annotate(annotated, 2)
    learned = learn(annotated, restart=True).learned()
    assert learned["steps"] == 3 and {i["key"] for i in learned["images"]} == {"d0", "d1", "d2"}


def test_one_process_at_a_time_learns_from_a_project(annotated):
    folder = work_folder(annotated.folder)
    with exclusive(folder / LOCK, str), pytest.raises(ResourceError, match="another process"):
        learn(annotated)


def test_more_objects_take_more_steps():
    assert default_steps(0) < default_steps(100) <= default_steps(10_000)


@pytest.mark.slow
@pytest.mark.parametrize("train", ["whole", "decoder"])
def test_only_a_dense_head_that_learns_assumes(annotated, train):
    assert (
        learn(annotated, train=train).learned()["options"].get("assume", 0)
        == (train == "whole") / 2
    )


def test_bad_options_are_errors(annotated):
    with pytest.raises(ParameterError, match="train must be one of"):
        learn(annotated, train="everything")


@pytest.mark.slow
def test_a_process_of_its_own_is_found_again_cancelled_and_resumed(annotated):
    start_learning(annotated.folder, steps=5000, threads=1, device="cpu")
    try:
        with pytest.raises(ResourceError, match="a process is learning from"):
            start_learning(annotated.folder)
        status = waited(annotated, lambda now: now.losses)
        assert status.state == "running" and status.process and status.total == 5000
        assert status.predicted_seconds > 0 and status.predicted_memory > 0
    finally:
        cancel_learning(annotated.folder)
    assert waited(annotated, lambda now: not now.active).state == "stopped"
    request = work_folder(annotated.folder) / "request.json"
    held = json.loads(request.read_text("utf-8"))
    assert held["steps"] == 5000


@pytest.mark.slow
def test_a_process_that_is_cancelled_while_it_starts_learns_nothing(annotated):
    start_learning(annotated.folder, steps=5000, threads=1, device="cpu")
    cancel_learning(annotated.folder)
    assert waited(annotated, lambda now: not now.active).state == "stopped"
    assert not annotated.versions


def waited(project, good, seconds=240.0):
    """The status of learning, once it is as wanted."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = learning_status(project.folder)
        if good(status):
            return status
        time.sleep(0.2)
    raise AssertionError(f"it is {learning_status(project.folder)}")


def test_a_killed_process_is_interrupted(annotated):
    learning = learn_steps(annotated, steps=40, device="cpu")
    next(learning)
    path = work_folder(annotated.folder) / "progress.json"
    running = path.read_text("utf-8")
    assert learning_status(annotated.folder).state == "running"
    learning.close()
    path.write_text(running, "utf-8")  # as a kill leaves it
    assert learning_status(annotated.folder).state == "interrupted"


def test_the_process_says_why_it_failed(tmp_path, monkeypatch):
    monkeypatch.setattr("os.nice", lambda by: 0)
    threads = torch.get_num_threads()
    assert main([str(tmp_path), f"--threads={threads}"]) == 2


def test_stopped_learning_whose_copies_changed_must_begin_anew(annotated):
    learning = learn_steps(annotated, steps=8, device="cpu")
    while "timing" not in next(learning).message:
        pass
    learning.close()
    (copy,) = (work_folder(annotated.folder) / "train").glob("d0*")
    with np.load(copy) as held:
        arrays = dict(held)
    np.savez(copy, **arrays | {"image": arrays["image"] // 2})
    with pytest.raises(ParameterError, match="begin anew"):
        finish(learn_steps(annotated, device="cpu"))


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system has other priorities")
def test_learning_has_a_low_priority_in_a_session_of_its_own() -> None:
    script = (
        "import os; from napari_segment_anything.projects.learning_process import lower_priority\n"
        "lower_priority(); print(os.nice(0))\n"
        "if os.path.exists('/proc/self/autogroup'): print(open('/proc/self/autogroup').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, start_new_session=True,
    )  # fmt: skip
    nice, *group = done.stdout.split()
    assert int(nice) >= 10 and group[1:] in ([], ["nice", "10"])
