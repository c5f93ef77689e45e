"""What one zone alone tells: its net, and not the third axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ediff_solve.lattice.nets import Net
from ediff_utils.bloch.scattering import wavelength

#: Share of the spots in one zone from which its third axis is not in the pattern: of positions as
#: a detector has them, which come with strays, and of ones sharper than this [1/angstrom].
ONE_ZONE, ONE_ZONE_SHARP, SHARP = 0.9, 0.95, 0.001
#: Fewest spots that this is told from.
FEWEST_SPOTS = 8
#: A net has a shape within its errors and so much: the ellipse of a projector lens.
LENGTH_TOLERANCE, ANGLE_TOLERANCE = 0.02, 1.2
#: Standard errors that count as none.
REACH = 3.0
#: Shapes of nets, most symmetric first.
SHAPES = ("hexagonal", "square", "rectangular", "centred rectangular", "oblique")
#: Plane symmetry of a net of each shape, as far as its points go (International Tables A, 2.1.3).
PLANE_GROUPS = dict(zip(SHAPES, ("p6mm", "p4mm", "p2mm", "c2mm", "p2"), strict=True))


@dataclass(frozen=True)
class ZoneNet:
    """The net of a pattern whose third axis is not seen.

    - ``lengths``, shape (2,): of its reduced vectors, the shorter first [1/angstrom].
    - ``angle``: between them, 60 to 90 [degree].
    - ``errors``, shape (3,): standard uncertainties of lengths and angle; that of the camera length
      is not among them.
    - ``shape``: one of :data:`SHAPES`, within errors and the ellipse of a lens.
    - ``plane_group``: the symmetry of such a net; intensities may have less.
    - ``share``: of the spots, that lie on it and near its plane.
    - ``tilt``: of the zone axis against the beam [degree].
    - ``circle``, shape (2,): centre of the Laue circle, which goes through the direct beam
      [1/angstrom].
    """

    lengths: np.ndarray
    angle: float
    errors: np.ndarray
    shape: str
    share: float
    tilt: float
    circle: np.ndarray

    @property
    def plane_group(self) -> str:
        return PLANE_GROUPS[self.shape]

    def to_dict(self) -> dict[str, object]:
        """The net as JSON has it."""
        names = ("g1", "g2", "angle")
        values = (*map(float, self.lengths), self.angle)
        return {
            **dict(zip(names, values, strict=True)),
            "errors": dict(zip(names, map(float, self.errors), strict=True)),
            "shape": self.shape,
            "plane_group": self.plane_group,
            "share": self.share,
            "tilt": self.tilt,
            "third_axis": "not seen",
        }


def is_one_zone(net: Net | None) -> bool:
    """Whether all spots but strays lie in one zone, so that no third axis is in the pattern."""
    if net is None or len(net.on) < FEWEST_SPOTS:
        return False
    return bool(net.in_zone.mean() >= (ONE_ZONE_SHARP if net.sigma < SHARP else ONE_ZONE))


def describe_net(net: Net, energy: float) -> ZoneNet:
    """A net with its errors and shape; the energy of the electrons in eV."""
    a, b = net.basis
    lengths = np.array([np.linalg.norm(a), np.linalg.norm(b)])
    cosine = float(a @ b / lengths.prod())
    hk = net.hk[net.in_zone].astype(float)
    errors = net.sigma * np.sqrt(np.diag(np.linalg.inv(hk.T @ hk)))
    spread = float(np.degrees(np.hypot(*(errors / lengths))))
    angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return ZoneNet(
        lengths=lengths,
        angle=angle,
        errors=np.append(errors, spread),
        shape=_name_shape(lengths, angle, errors, spread),
        share=float(net.in_zone.mean()),
        tilt=float(np.degrees(np.hypot(*net.tilt))),
        circle=net.tilt / wavelength(energy),
    )


def _name_shape(lengths: np.ndarray, angle: float, errors: np.ndarray, spread: float) -> str:
    """The most symmetric shape that a net may have."""
    one, two = lengths
    same = abs(two / one - 1) < LENGTH_TOLERANCE + REACH * float(np.hypot(*(errors / lengths)))
    near = ANGLE_TOLERANCE + REACH * spread
    if same and abs(angle - 60) < near:
        return "hexagonal"
    if same and abs(angle - 90) < near:
        return "square"
    if abs(angle - 90) < near:
        return "rectangular"
    # The second vector ends above the middle of the first one.
    middle = np.degrees(np.arccos(np.clip(one / (2 * two), -1, 1)))
    return "centred rectangular" if same or abs(angle - middle) < near else "oblique"
