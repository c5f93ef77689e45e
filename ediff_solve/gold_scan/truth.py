"""What is true at each position of a simulated scan, as tables and as one record.

Orientations are rotation matrices R, or the unit quaternions w + x i + y j + z k of the same
rotation, w not negative: R takes a vector from the scan's axes (z against the beam) to the domain's
cubic axes, and its columns are the scan's x, y and z axes there
(:mod:`ediff_utils.bloch.simulation`). A domain's orientation is one of 24 that are the same for
fcc. Particles and domains count from 1.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from ediff_solve.gold_scan.crystal import GOLD_LATTICE
from ediff_solve.gold_scan.render import GoldScan, scatter_positions
from ediff_solve.gold_scan.specimen import KINDS

#: A domain counts where it has at least this share of a position's scattered intensity.
MIN_SHARE = 0.02
QUATERNION = ("quaternion_w", "quaternion_x", "quaternion_y", "quaternion_z")


def _quaternions(orientations: np.ndarray) -> np.ndarray:
    """Unit quaternions w, x, y, z of orientations, w not negative; shape (n, 4)."""
    found = Rotation.from_matrix(orientations).as_quat()[:, [3, 0, 1, 2]]
    return np.where(found[:, :1] < 0, -found, found)


def compute_positions(scan: GoldScan) -> pd.DataFrame:
    """The truth, a row a probe position, by x, then y.

    x, y; particle and domain that scatter most (0 without gold); n_domains and n_particles with at
    least :data:`MIN_SHARE` of the scattered intensity; share of the dominant domain in it;
    quaternion_w to quaternion_z of its orientation; thickness of all gold and thickness_domain of
    the dominant domain, means over the probe [angstrom]; scattered, what the particles send into
    spots [fraction of the beam]; single (one domain), twinned (two or more of one particle) and
    overlapping (two or more particles); centre_row and centre_column of the direct beam on the
    detector [pixels]. Without a particle, share and quaternion are NaN.
    """
    n = scan.settings.scan_size
    rows = pd.concat([_row(scan, row) for row in range(n)], ignore_index=True)
    turned = np.vstack([np.full((1, 4), np.nan), _quaternions(scan.specimen.orientations)])
    rows[list(QUATERNION)] = turned[rows["domain"]]
    rows["single"] = rows["n_domains"] == 1
    rows["overlapping"] = rows["n_particles"] > 1
    rows[["centre_row", "centre_column"]] = scan.microscope.centres.reshape(-1, 2)
    first = ["x", "y", "particle", "domain", "n_domains", "n_particles", "share", *QUATERNION]
    return rows[first + [name for name in rows if name not in first]]


def _row(scan: GoldScan, row: int) -> pd.DataFrame:
    """The truth of a scan row, but for what follows from the domain alone."""
    found = scatter_positions(scan, row)
    n = len(found.direct)
    position = np.repeat(np.arange(n), np.diff(found.domain_offsets))
    total = np.bincount(position, found.scattered, n)
    met = pd.DataFrame(
        {
            "y": position,
            "domain": found.domain + 1,
            "particle": scan.specimen.domain_particle[found.domain] + 1,
            "share": found.scattered / np.maximum(total[position], np.finfo(float).tiny),
            "thickness_domain": found.thickness,
        }
    )
    strong = met[met["share"] >= MIN_SHARE]
    # stable, so that of two equal domains the one met first leads
    best = met.sort_values("share", ascending=False, kind="stable").drop_duplicates("y")
    out = best.set_index("y").reindex(np.arange(n))
    whole = {"particle": 0, "domain": 0}
    out = out.fillna(whole | {"thickness_domain": 0.0}).astype(dict.fromkeys(whole, np.int64))
    out["n_domains"] = strong.groupby("y").size().reindex(out.index, fill_value=0)
    particles = strong.groupby("y")["particle"].nunique()
    out["n_particles"] = particles.reindex(out.index, fill_value=0)
    repeated = strong[strong.duplicated(["y", "particle"])]["y"]
    out["twinned"] = out.index.isin(repeated)
    out["thickness"] = np.bincount(position, found.thickness, n)
    out["scattered"] = total
    out.insert(0, "x", row)
    return out.reset_index(names="y")


def compute_domains(scan: GoldScan) -> pd.DataFrame:
    """The domains, a row each.

    domain, particle; kind of the particle (:data:`KINDS`), textured; variant (0 for the parent or
    the first wedge); quaternion_w to quaternion_z; orientation (the matrix's nine entries, row
    after row); particle_x, particle_y, particle_z and particle_radius, of the sphere [angstrom].
    """
    specimen = scan.specimen
    particle = specimen.domain_particle
    table = pd.DataFrame(
        {
            "domain": np.arange(1, len(particle) + 1),
            "particle": particle + 1,
            "kind": np.array(KINDS)[specimen.kinds[particle]],
            "textured": specimen.textured[particle],
        }
    )
    table["variant"] = table.groupby("particle").cumcount()
    table[list(QUATERNION)] = _quaternions(specimen.orientations)
    table["orientation"] = list(specimen.orientations.reshape(-1, 9))
    table[["particle_x", "particle_y", "particle_z"]] = specimen.centres[particle]
    table["particle_radius"] = specimen.radii[particle]
    return table


def compute_microscope(scan: GoldScan) -> dict[str, object]:
    """Calibration that a user of the frames would have to find, and what was asked for.

    q in the scan's axes falls on the pixel centre + matrix q; the centres stand in the table of
    positions.
    """
    settings, microscope = scan.settings, scan.microscope
    return {
        "lattice_parameter_angstrom": GOLD_LATTICE,
        "step_angstrom": settings.step,
        "pixel_size_per_angstrom": settings.pixel_size,
        "disk_radius_per_angstrom": settings.disk_radius,
        "electrons_per_position": settings.electrons,
        "rotation_degree": microscope.rotation,
        "ellipticity": microscope.ellipticity,
        "ellipse_axis_degree": microscope.axis,
        "matrix_angstrom_pixels": microscope.matrix.tolist(),
        "hot_pixels": [
            {"row": int(row), "column": int(column), "mean_counts": float(counts)}
            for (row, column), counts in zip(microscope.hot, microscope.hot_counts, strict=True)
        ],
        "settings": settings.model_dump(mode="json"),
    }
