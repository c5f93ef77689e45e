"""What the pictures of the steps from frames to maps show."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ediff_solve.figures import scan_steps
from ediff_solve.frames.calibrate import Calibration
from ediff_solve.frames.detect import DetectionSettings, compute_detector
from ediff_solve.frames.rings import Ring
from ediff_solve.frames.stream import Detected, Looks
from ediff_solve.gold_scan.scores import STAGES
from ediff_utils.paper.scan.bragg import build_bragg_lists

SHAPE = (4, 5)


@pytest.fixture
def ax():
    return Figure().add_subplot()


@pytest.fixture(scope="module")
def detected():
    """Two spots a position: the direct beam, and one 20 pixels further down."""
    origins = np.broadcast_to([30.0, 32.0], (*SHAPE, 2)) + np.indices(SHAPE).transpose(1, 2, 0) / 9
    flat = origins.reshape(-1, 2)
    place = np.concatenate([flat, flat + [20.0, 0.0]])
    return Detected(
        path="scan.hspy",
        position=np.tile(np.arange(20), 2),
        x=place[:, 0],
        y=place[:, 1],
        intensity=np.ones(40),
        origins=origins,
        dark_field=np.arange(20.0).reshape(SHAPE),
        spacing=4.0,
    )


@pytest.fixture(scope="module")
def looks():
    settings = DetectionSettings(radius=3.0, gain=1.0, read_noise=0.0)
    hot = np.zeros((64, 64), bool)
    hot[[3, 50], [7, 9]] = True
    detector = compute_detector(settings, np.array([0.1, 0.1]))
    return Looks(np.ones((64, 64)), hot, settings, detector, (30.0, 32.0), 0.0)


def test_hot_pixels_are_ringed(looks, tmp_path):
    figure = scan_steps.figure_frames(looks, np.ones((64, 64)))
    figure.savefig(tmp_path / "a.png")
    rings = {tuple(patch.center) for patch in figure.axes[1].patches}
    assert rings == {(7, 3), (9, 50)}
    assert "2 hot pixels" in figure.axes[1].get_title(loc="left")


def test_frame_keeps_its_edges_and_marks_the_centre(ax):
    frame = np.arange(20 * 20, dtype=np.uint16).reshape(20, 20)
    scan_steps._plot_frame(frame, ax, "a frame", centre=(4.0, 7.0), hot=np.array([[19, 19]]))
    assert ax.get_xlim() == (-0.5, 19.5)
    assert ax.get_ylim() == (19.5, -0.5)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[7, 4]])
    assert "pixels" in ax.get_xlabel()


def test_spots_lie_about_the_direct_beam_and_the_ellipse_is_the_rings(detected, ax):
    calibration = Calibration(detected.origins, 0.02)
    ring = Ring(20.0, 0.1, 30.0)
    scan_steps._plot_bragg_vectors(detected, calibration, ax, ring)
    image = np.asarray(ax.images[0].get_array())
    left, right, bottom, top = ax.images[0].get_extent()
    assert (left, bottom) == (-right, -top)
    assert bottom > 0, "rows grow downwards"
    strong = np.argwhere(image >= 20)
    offsets = (strong + 0.5) / len(image) * 2 * right - right
    assert {tuple(o) for o in np.rint(offsets)} == {(0, 0), (20, 0)}
    (ellipse,) = ax.patches
    assert (ellipse.width, ellipse.height) == pytest.approx((42, 38))
    # The end of the major axis: 30 degrees from downwards to the right.
    end = 21 * np.array([np.cos(np.radians(ellipse.angle)), np.sin(np.radians(ellipse.angle))])
    np.testing.assert_allclose(end, 21 * np.array([np.sin(np.pi / 6), np.cos(np.pi / 6)]))


def test_origins_have_one_scale_for_found_and_fitted(detected, tmp_path):
    calibration = Calibration(detected.origins, 0.02)
    figure = scan_steps.figure_origins(detected, calibration, 21.0)
    figure.savefig(tmp_path / "a.png")
    images = [a.images[0] for a in figure.axes if a.images and a.get_title(loc="left")]
    assert len(images) == 4
    assert images[0].get_clim() == images[1].get_clim()
    assert images[0].get_clim() != images[2].get_clim()


def test_spots_of_one_position_are_ringed(detected, tmp_path):
    figure = scan_steps.figure_detection(
        np.ones((64, 64)), detected, (2, 3), np.full(SHAPE, 7), 21.0
    )
    figure.savefig(tmp_path / "a.png")
    (own,) = [a for a in figure.axes if a.get_title(loc="left").startswith("Spots of one")]
    drawn = own.collections[0].get_offsets()
    origin = detected.origins[2, 3][::-1]
    np.testing.assert_allclose(drawn, [origin, origin + [0, 20]])


def test_calibrated_spots_and_the_known_ring(detected, tmp_path):
    calibration = Calibration(detected.origins, 0.02, 0.013)
    lists = build_bragg_lists([0, 1], [0, 1], [0.4, 0.3], [0.0, 0.1], [1, 1])
    ring = Ring(20.0, 0.0, 0.0)
    figure = scan_steps.figure_calibration(detected, calibration, lists, ring, 0.4)
    figure.savefig(tmp_path / "a.png")
    second = figure.axes[1]
    assert second.lines[0].get_xdata()[0] == 0.4
    assert "pixel 0.02000 1/Å" in second.texts[0].get_text()
    assert "1.3 %" in second.texts[0].get_text()
    assert sum(bar.get_height() for bar in second.patches) >= 1


@pytest.mark.parametrize("known", [True, False])
def test_particles_beside_the_truth(known, tmp_path):
    labels = np.array([[0, 1, 1], [2, 2, 0]])
    figure = scan_steps.figure_particles(labels, 21.0, labels[::-1] if known else None)
    figure.savefig(tmp_path / "a.png")
    assert len(figure.axes) == 1 + known
    image = figure.axes[0].images[0].get_array()
    assert not np.array_equal(image[0, 1], image[1, 0])
    np.testing.assert_array_equal(image[0, 0], image[1, 2])
    assert figure.axes[0].get_title(loc="left") == "Particles found: 2"


def test_confusion_and_stages_are_in_percent(tmp_path):
    kinds = ["single", "twinned", "overlapping", "bare film"]
    counts = pd.DataFrame(
        [[3, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 5]],
        index=kinds,
        columns=["cubic", "hexagonal", "none"],
    )
    stages = pd.DataFrame(
        [
            {"stage": stage, "kind": kind, "n": 4, "answered": 0.5, "cubic": 0.25}
            for stage in STAGES
            for kind in kinds[:2]
        ]
    )
    figure = scan_steps.figure_truth({"forests": (counts, stages)})
    figure.savefig(tmp_path / "a.png")
    first, second = figure.axes
    shown = [text.get_text() for text in first.texts]
    assert shown[:3] == ["75", "25", "0"]
    assert first.get_yticklabels()[0].get_text() == "single (4)"
    # an outline and a bar for each kind
    heights = [[bar.get_height() for bar in bars] for bars in second.containers]
    assert heights[:2] == [[50.0] * 4, [25.0] * 4]
    assert heights[4:] == [[0.0] * 4] * 2


def test_flags(tmp_path):
    curve = pd.DataFrame({"threshold": [0.4, 0.8], "false_alarms": [0.1, 1], "flagged": [0.7, 1]})
    (ax,) = scan_steps.figure_flags(curve).axes
    line = ax.lines[1]
    np.testing.assert_allclose(line.get_xdata(), [10, 100])
    np.testing.assert_allclose(line.get_ydata(), [70, 100])
    empty = scan_steps.figure_flags(curve.iloc[:0])
    empty.savefig(tmp_path / "a.png")
    assert [t.get_text() for t in empty.axes[0].texts] == ["no positions of both kinds"]
