"""Images by reference: folders, patterns, tables, stacks, plates."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_segment_anything.errors import FormatError, ImageError, ParameterError
from napari_segment_anything.formats import write_labels
from napari_segment_anything.projects import ImageSource, Project


def keys(project):
    return [image.key for image in project.images]


def plate(path):
    """Two wells with two fields each, in OME-Zarr 0.5."""
    root = zarr.open_group(path, mode="w")
    wells = [{"path": f"A/{n}", "rowIndex": 0, "columnIndex": n - 1} for n in (1, 2)]
    root.attrs["ome"] = {"version": "0.5", "plate": {"wells": wells}}
    scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    axes = [
        {"name": "c", "type": "channel"},
        *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx"),
    ]
    for well in wells:
        group = root.create_group(well["path"])
        group.attrs["ome"] = {"version": "0.5", "well": {"images": [{"path": "0"}, {"path": "1"}]}}
        for field in range(2):
            image = group.create_group(str(field))
            image.create_array("0", data=np.full((2, 12, 16), field, np.uint16))
            image.attrs["ome"] = {
                "version": "0.5",
                "multiscales": [
                    {
                        "axes": axes,
                        "datasets": [{"path": "0", "coordinateTransformations": scale}],
                    }
                ],
            }
    return path


def test_a_pattern_and_folders_below(tmp_path, raw):
    (raw / "deeper").mkdir()
    (raw / "a2.png").rename(raw / "deeper" / "a0.png")
    project = Project.create(tmp_path / "p", raw / "**" / "*.png")
    assert keys(project) == ["a0", "a1", "deeper-a0"]
    assert project.image("deeper-a0").path == str(raw / "deeper" / "a0.png")
    with pytest.raises(FormatError, match="no file matches"):
        Project.create(tmp_path / "q", str(raw / "*.tif"))


def test_images_of_the_same_name_get_keys_of_their_own(tmp_path, raw):
    project = Project.create(tmp_path / "p", [raw / "a0.png", raw, raw / "A0.png"][:2])
    assert keys(project) == ["a0", "a0-2", "a1", "a2"]


def test_a_table_with_labels_and_planes(tmp_path, raw, labels):
    np.save(raw / "movie.npy", np.zeros((3, 40, 50), np.uint8))
    write_labels(raw / "truth.tif", labels)
    table = tmp_path / "images.tsv"
    table.write_text(
        "path\tplane\tlabel\tkey\tstain\n"
        "raw/a0.png\t\traw/truth.tif\tcontrol\tDAPI\n"
        "raw/movie.npy\t1\t\t\tGFP\n"
        "raw/movie.npy\tQ=2\t\t\t\n"
    )
    project = Project.create(tmp_path / "p", table)
    assert keys(project) == ["control", "raw-movie-q001", "raw-movie-q002"]
    control = Project.open(project.folder).image("control")
    assert control.columns == {"stain": "DAPI"} and control.state == "in_progress"
    np.testing.assert_array_equal(control.labels(), labels)
    assert project.image("raw-movie-q002").plane == {"Q": 2}


def test_no_project_is_made_if_a_label_image_of_a_table_does_not_fit(tmp_path, raw, labels):
    write_labels(raw / "small.tif", labels[:9])
    (tmp_path / "t.csv").write_text("path,label\nraw/a0.png,raw/small.tif\n")
    with pytest.raises(FormatError, match=r"small\.tif has shape \(9, 50\), the image raw-a0"):
        Project.create(tmp_path / "p", tmp_path / "t.csv")
    write_labels(raw / "small.tif", labels)
    assert Project.create(tmp_path / "p", tmp_path / "t.csv").images[0].labels().max() == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a header with a column 'path'"),
        ("file\na.png", "needs a header with a column 'path'"),
        ("path,plane\nraw/a0.png", "row 2: 1 fields, but the header has 2"),
        ("path,plane\nraw/a0.png,x", "row 2: a plane is an index"),
        ("path\nraw/b.png", "no file|does not exist"),
        ("path,plane\nraw/a0.png,1", "is a single plane"),
    ],
)
def test_a_table_that_cannot_be_read(tmp_path, raw, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises((FormatError, ImageError), match=message):
        Project.create(tmp_path / "p", tmp_path / "t.csv").images[0].open()


def test_planes_of_a_stack_are_read_one_by_one(tmp_path):
    stack = np.arange(2 * 5 * 6 * 7, dtype=np.uint16).reshape(2, 5, 6, 7)
    tifffile.imwrite(tmp_path / "movie.ome.tif", stack, metadata={"axes": "TZYX"}, ome=True)
    path = str(tmp_path / "movie.ome.tif")
    source = ImageSource(path, planes="T=1,Z=1:5:2", pixel_size=(0.5, 0.25))
    project = Project.create(tmp_path / "p", source)
    assert keys(project) == ["movie-t001-z001", "movie-t001-z003"]
    data = project.images[1].open()
    np.testing.assert_array_equal(np.asarray(data.array), stack[1, 3])
    assert data.pixel_size == (0.5, 0.25)
    assert project.images[1].plane_source().shape == (6, 7)
    with pytest.raises(ImageError, match="planes 0 to 1 along axis T"):
        Project.create(tmp_path / "q", ImageSource(path, planes="T=7"))
    with pytest.raises(ParameterError, match="planes are 'all'"):
        ImageSource("a.tif", planes="T=a")


def test_a_plate_stays_on_disk(tmp_path):
    project = Project.create(tmp_path / "p", plate(tmp_path / "plate.zarr"))
    assert keys(project) == ["A-1-0", "A-1-1", "A-2-0", "A-2-1"]
    image = project.image("A-2-1")
    assert image.columns == {"well": "A/2", "field": "1"}
    data = image.open()
    assert data.axes == "CYX" and data.lazy and data.pixel_size == (0.5, 0.5)
    assert image.shape == (12, 16)


def test_a_plane_of_a_store_is_lazy(tmp_path):
    zarr.create_array(
        tmp_path / "s.zarr", data=np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8),
        chunks=(1, 4, 4), dimension_names=("z", "y", "x"),
    )  # fmt: skip
    project = Project.create(tmp_path / "p", tmp_path / "s.zarr")
    data = project.image("s-z002").open()
    assert data.lazy and data.array.shape == (8, 8) and data.array.chunks == (4, 4)
    expected = np.arange(128, 192, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(data.array[...], expected)
    np.testing.assert_array_equal(data.array[2:4, -1], expected[2:4, -1])
    np.testing.assert_array_equal(np.asarray(data.array[..., 0]), expected[..., 0])


def test_samples_and_colours_and_channels(tmp_path):
    project = Project.create(tmp_path / "p", ImageSource("sample:coins"))
    assert keys(project) == ["coins"] and project.image("coins").shape == (303, 384)
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(tmp_path / "c.png")
    colour = Project.create(tmp_path / "q", ImageSource(str(tmp_path / "c.png"), channels=(1,)))
    assert colour.image("c").plane_source().channels == (1,)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FormatError, match="no file or folder"):
        Project.create(tmp_path / "p", tmp_path / "raw")
    with pytest.raises(FormatError, match="has no images"):
        Project.create(tmp_path / "p", tmp_path)
    with pytest.raises(ParameterError, match="images are paths"):
        Project.create(tmp_path / "p", [3])
    with pytest.raises(FormatError, match=r"is not a project: it has no project\.toml"):
        Project.open(tmp_path)
    assert not (tmp_path / "p").exists()
