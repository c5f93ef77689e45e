"""From places on a detector in the laboratory to reciprocal space."""

from __future__ import annotations

import numpy as np


def project(
    places: np.ndarray, beam: np.ndarray, wavelength: float, down: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Components qx and qy of s1 - s0 across the beam [1/angstrom].

    Parameters
    ----------
    places : ndarray, shape (n, 3)
        From the sample, in any unit.
    beam : ndarray, shape (3,)
        Direction that the electrons travel in.
    wavelength : float
        [angstrom]
    down, right : ndarray, shape (3,)
        The detector's directions of rows and of columns; what is along the beam is taken off.
    """
    beam = np.asarray(beam, float) / np.linalg.norm(beam)
    out = places / np.linalg.norm(places, axis=1, keepdims=True)
    q = (out - beam) / wavelength
    along_down, along_right = across(down, beam), across(right, beam)
    return q @ along_down, q @ along_right


def across(axis: np.ndarray, beam: np.ndarray) -> np.ndarray:
    """The unit vector along ``axis`` across a unit vector ``beam``."""
    part = np.asarray(axis, float) - (np.asarray(axis, float) @ beam) * beam
    return part / np.linalg.norm(part)


def tilt_direction(
    axis: np.ndarray, beam: np.ndarray, down: np.ndarray, right: np.ndarray
) -> float:
    """Direction of a rotation axis on the detector, from qx towards qy in (-180, 180] [degree]."""
    beam = np.asarray(beam, float) / np.linalg.norm(beam)
    along = np.asarray(axis, float)
    return float(np.degrees(np.arctan2(along @ across(right, beam), along @ across(down, beam))))
