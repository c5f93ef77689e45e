"""Scales that a file states are taken; those that a reader made up are not believed."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from frame_files import write_hspy

from ediff_solve.frames.reading import open_frames
from ediff_utils.core.errors import UserError

DATA = np.random.default_rng(0).poisson(5, (3, 4, 32, 32)).astype("u2")


def open_hspy(tmp_path, *, signal_axes=None, **options):
    return open_frames(write_hspy(tmp_path / "a.hspy", DATA, **options), signal_axes=signal_axes)


def test_what_the_file_states(tmp_path):
    found = open_hspy(tmp_path, scale=(2.0, 2.0, 0.05, 0.05))
    assert found.step == pytest.approx(20)
    assert found.pixel_size == pytest.approx(0.005)


@pytest.mark.parametrize("units", [("nm", "nm", "1/nm", "1/nm"), ("nm", "nm", "nm^-1", "nm^-1")])
def test_ones_are_made_up(tmp_path, units):
    found = open_hspy(tmp_path, units=units, scale=(1.0, 1.0, 1.0, 1.0))
    assert (found.step, found.pixel_size) == (None, None)
    # One nanometre is a step that scans have; one of 1/nm is no pixel.
    found = open_hspy(tmp_path, units=units, scale=(1.0, 1.0, 0.1, 0.1))
    assert (found.step, found.pixel_size) == (10, pytest.approx(0.01))
    found = open_hspy(tmp_path, units=units, scale=(0.4, 0.4, 1.0, 1.0))
    assert (found.step, found.pixel_size) == (pytest.approx(4), None)


@pytest.mark.parametrize("units", ["", " ", "px", "pixels"])
def test_units_that_say_nothing(tmp_path, units):
    found = open_hspy(tmp_path, units=("nm", "nm", units, units))
    assert found.pixel_size is None


@pytest.mark.parametrize("signal_axes", [None, (2, 3)])
@pytest.mark.parametrize("unit", ["um", "µm", "mm"])
def test_a_cameras_own_pixels(tmp_path, unit, signal_axes):
    options = {"units": ("nm", "nm", unit, unit), "scale": (2.0, 2.0, 55.0, 55.0)}
    found = open_hspy(tmp_path, signal_axes=signal_axes, **options)
    assert found.scan_shape == (3, 4)
    assert (found.step, found.pixel_size) == (pytest.approx(20), None)


def test_lengths_without_any_of_the_scan_are_exchanged(tmp_path):
    options = {"units": ("", "", "nm", "nm"), "scale": (2.0, 2.0, 55.0, 55.0)}
    with pytest.raises(UserError, match="scan and detector are exchanged"):
        open_hspy(tmp_path, **options)


def test_emd_of_older_programs(tmp_path):
    path = tmp_path / "old.emd"
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("simulation/cube")
        file["simulation"].attrs["emd_group_type"] = 1
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", data=DATA)
    with pytest.raises(UserError, match=r"old\.emd: EMD 0\.2, .* is not supported"):
        open_frames(path)
