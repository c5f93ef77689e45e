"""What the beam meets at each probe position, and the spots that it leaves with.

Every position is a few columns within the probe. A column meets cells of particles, each of which
turns part of the direct beam into its domain's spots.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: centres, radii, cell_offsets, cell_domain and cell_planes of a specimen.
Sphere = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]

#: Most cells that a column meets, and most domains under one probe.
_MOST = 64


@njit(cache=True, nogil=True)
def _cut_column(x: float, y: float, radius: float, planes: np.ndarray) -> tuple[float, float]:
    """Ends in z [angstrom] of a line within a cell of a sphere; equal where there is none."""
    square = radius * radius - x * x - y * y
    if square <= 0:
        return 0.0, 0.0
    high = np.sqrt(square)
    low = -high
    for k in range(planes.shape[0]):
        rest = planes[k, 3] - planes[k, 0] * x - planes[k, 1] * y
        nz = planes[k, 2]
        if nz > 1e-12:
            high = min(high, rest / nz)
        elif nz < -1e-12:
            low = max(low, rest / nz)
        elif rest < 0:
            return 0.0, 0.0
    if high <= low:
        return 0.0, 0.0
    return low, high


@njit(cache=True, nogil=True)
def _stack(
    x: float,
    y: float,
    near: np.ndarray,
    centres: np.ndarray,
    radii: np.ndarray,
    cell_offsets: np.ndarray,
    cell_domain: np.ndarray,
    cell_planes: np.ndarray,
    domain: np.ndarray,
    thickness: np.ndarray,
    height: np.ndarray,
) -> int:
    """Cells that a column meets, the one nearest to the source first; their number."""
    n = 0
    for i in near:
        dx, dy = x - centres[i, 0], y - centres[i, 1]
        if dx * dx + dy * dy >= radii[i] * radii[i]:
            continue
        for cell in range(cell_offsets[i], cell_offsets[i + 1]):
            low, high = _cut_column(dx, dy, radii[i], cell_planes[cell])
            if high <= low or n == _MOST:
                continue
            z = centres[i, 2] + (low + high) / 2
            place = n
            while place > 0 and height[place - 1] < z:
                domain[place], thickness[place] = domain[place - 1], thickness[place - 1]
                height[place] = height[place - 1]
                place -= 1
            domain[place], thickness[place], height[place] = cell_domain[cell], high - low, z
            n += 1
    return n


@njit(cache=True, nogil=True)
def _scatter(
    weight: float,
    domain: int,
    thickness: float,
    tables: tuple[np.ndarray, ...],
    step: float,
    spectrum: np.ndarray,
) -> float:
    """Add a cell's beams to the spectrum; what it leaves of the direct beam."""
    beam_offsets, _, _, thickness_offsets, direct, table_offsets, intensity = tables
    n_beams = beam_offsets[domain + 1] - beam_offsets[domain]
    last = thickness_offsets[domain + 1] - thickness_offsets[domain] - 1
    row = min(int(thickness / step), last - 1)
    part = min(thickness / step - row, 1.0)
    lower = table_offsets[domain] + row * n_beams
    upper = lower + n_beams
    for b in range(n_beams):
        value = (1 - part) * intensity[lower + b] + part * intensity[upper + b]
        spectrum[b] += weight * value
    first = thickness_offsets[domain] + row
    return weight * ((1 - part) * direct[first] + part * direct[first + 1])


@njit(cache=True, nogil=True)
def _cross(
    beam: float,
    weight: float,
    stack: np.ndarray,
    path: np.ndarray,
    tables: tuple[np.ndarray, ...],
    step: float,
    n_met: int,
    under: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[int, float]:
    """Send the direct beam through a column; the number of domains met so far, and what is left."""
    met, met_thickness, spectra = under
    for s in range(len(stack)):
        slot = 0
        while slot < n_met and met[slot] != stack[s]:
            slot += 1
        if slot == _MOST:
            continue
        if slot == n_met:
            met[slot], met_thickness[slot] = stack[s], 0.0
            n_met += 1
        met_thickness[slot] += weight * path[s]
        beam = _scatter(beam, stack[s], path[s], tables, step, spectra[slot])
    return n_met, beam


@njit(cache=True, nogil=True)
def _pass_probe(
    x: float,
    y: float,
    probe: np.ndarray,
    near: np.ndarray,
    sphere: Sphere,
    tables: tuple[np.ndarray, ...],
    step: float,
    diffuse_length: float,
    under: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[int, float, float]:
    """Send a probe through; the domains met, and what is left and diffuse of the direct beam."""
    stack = np.empty(_MOST, np.int64)
    path, height = np.empty(_MOST), np.empty(_MOST)
    n_met, left, diffuse = 0, 0.0, 0.0
    for c in range(len(probe)):
        weight = probe[c, 2]
        size = _stack(x + probe[c, 0], y + probe[c, 1], near, *sphere, stack, path, height)
        lost = 1 - np.exp(-np.sum(path[:size]) / diffuse_length)
        diffuse += weight * lost
        beam, column = weight * (1 - lost), stack[:size]
        n_met, beam = _cross(beam, weight, column, path, tables, step, n_met, under)
        left += beam
    return n_met, left, diffuse


@njit(cache=True, nogil=True)
def _grown(rows: np.ndarray, size: int) -> np.ndarray:
    """The three rows, or a copy of them that is longer and holds at least that many columns."""
    n = rows.shape[1]
    if size <= n:
        return rows
    longer = np.empty((3, max(size, 2 * n)))
    longer[:, :n] = rows
    return longer


@njit(cache=True, nogil=True)
def mix_positions(
    positions: np.ndarray,
    probe: np.ndarray,
    near: np.ndarray,
    sphere: Sphere,
    tables: tuple[np.ndarray, ...],
    step: float,
    diffuse_length: float,
    floor: float,
) -> tuple[np.ndarray, ...]:
    """What some probe positions scatter; see :class:`ediff_solve.gold_scan.render.Scattered`.

    Parameters
    ----------
    positions : ndarray, shape (n, 2)
        x and y [angstrom].
    probe : ndarray, shape (columns, 3)
        x and y of the columns from the position, and their weights, which add up to 1.
    near : ndarray of int, shape (k,)
        Particles that may lie under these positions.
    sphere, tables : tuple of ndarray
        See :data:`Sphere` and :class:`ediff_solve.gold_scan.tables.IntensityTables`.
    step, diffuse_length : float
        The former of the tables' thicknesses [angstrom].
    floor : float
        Weakest spot kept [fraction of the incident beam].
    """
    beam_offsets, qx, qy = tables[:3]
    n = len(positions)
    spectra = np.zeros((_MOST, np.max(np.diff(beam_offsets))))
    met, met_thickness = np.empty(_MOST, np.int64), np.empty(_MOST)
    left, diffuse = np.zeros(n), np.zeros(n)
    domain_ends, spot_ends = np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    # domain, share and thickness of what is met; qx, qy and intensity of spots
    domains, spots = np.empty((3, 256)), np.empty((3, 4096))
    for j in range(n):
        x, y = positions[j]
        n_met, left[j], diffuse[j] = _pass_probe(
            x, y, probe, near, sphere, tables, step, diffuse_length, (met, met_thickness, spectra)
        )
        start, end = domain_ends[j], spot_ends[j]
        domains = _grown(domains, start + n_met)
        for slot in range(n_met):
            first, last = beam_offsets[met[slot]], beam_offsets[met[slot] + 1]
            spots = _grown(spots, end + last - first)
            row = domains[:, start + slot]
            row[0], row[1], row[2] = met[slot], np.sum(spectra[slot]), met_thickness[slot]
            for b in range(last - first):
                if spectra[slot, b] >= floor:
                    spots[0, end], spots[1, end] = qx[first + b], qy[first + b]
                    spots[2, end] = spectra[slot, b]
                    end += 1
            spectra[slot] = 0.0
        domain_ends[j + 1], spot_ends[j + 1] = start + n_met, end
    domain, share, thickness = domains[:, : domain_ends[n]]
    out_x, out_y, out_value = spots[:, : spot_ends[n]]
    found = domain_ends, domain.astype(np.int64), share, thickness
    return left, diffuse, *found, spot_ends, out_x, out_y, out_value


@njit(cache=True, nogil=True)
def merge_spots(
    qx: np.ndarray,
    qy: np.ndarray,
    intensity: np.ndarray,
    offsets: np.ndarray,
    distance: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make one spot of those that lie too close to be told apart.

    Parameters
    ----------
    qx, qy, intensity : ndarray, shape (spots,)
        [1/angstrom]; position after position.
    offsets : ndarray of int, shape (n + 1,)
    distance : float
        Spots closer to a stronger one become part of it [1/angstrom].

    Returns
    -------
    qx, qy, intensity : ndarray
        At the centre of the intensities that were merged.
    offsets : ndarray of int, shape (n + 1,)
    """
    n = len(offsets) - 1
    x, y, value = np.empty_like(qx), np.empty_like(qy), np.empty_like(intensity)
    ends = np.zeros(n + 1, np.int64)
    for j in range(n):
        first, last = offsets[j], offsets[j + 1]
        order = np.argsort(-intensity[first:last])
        taken = np.zeros(last - first, np.bool_)
        end = ends[j]
        for a in range(len(order)):
            i = order[a]
            if taken[i]:
                continue
            total = sum_x = sum_y = 0.0
            for b in range(a, len(order)):
                k = order[b]
                dx, dy = qx[first + k] - qx[first + i], qy[first + k] - qy[first + i]
                if not taken[k] and dx * dx + dy * dy <= distance * distance:
                    taken[k] = True
                    total += intensity[first + k]
                    sum_x += intensity[first + k] * qx[first + k]
                    sum_y += intensity[first + k] * qy[first + k]
            if total > 0:
                x[end], y[end], value[end] = sum_x / total, sum_y / total, total
                end += 1
        ends[j + 1] = end
    return x[: ends[n]], y[: ends[n]], value[: ends[n]], ends
