"""A stand-in for trained forests, shared by the tests of the scan and of its figures."""

import numpy as np

from ediff_utils.paper.scan.bragg import BraggLists, build_bragg_lists

#: |q| of the spots of each kind of pattern [1/angstrom]: the fake tells them apart by their ring.
RADII = {"cubic": 0.5, "hexagonal": 1.0, "monoclinic": 1.5}


class FakeHierarchy:
    """Every tree but ``doubters`` votes for the system whose ring holds the spots."""

    classes = tuple(RADII)
    n_trees = 80

    def __init__(self, doubters: int = 20) -> None:
        self.doubters = doubters

    def system_votes(self, features: np.ndarray) -> np.ndarray:
        system = self._system(features)
        votes = np.zeros((len(features), len(self.classes)), dtype=int)
        rows = np.arange(len(features))
        votes[rows, system] = self.n_trees - self.doubters
        votes[rows, (system + 1) % len(self.classes)] = self.doubters
        return votes

    def predict_lattice(self, features: np.ndarray, system: str) -> np.ndarray:
        a = {"cubic": 4.0, "hexagonal": 3.0, "monoclinic": 5.0}[system]
        return np.tile([a, a + 0.5, a + 1.0], (len(features), 1)) + 0.01 * self._system(
            features
        ).reshape(-1, 1)

    def predict_space_group(
        self, features: np.ndarray, system: str
    ) -> tuple[np.ndarray, np.ndarray]:
        number = {"cubic": 225, "hexagonal": 194, "monoclinic": 14}[system]
        return np.full(len(features), number), np.ones(len(features))

    @staticmethod
    def _system(features: np.ndarray) -> np.ndarray:
        rings = features[:, : 41 * 13].reshape(len(features), 41, 13)[:, :, 0]
        wanted = [round(radius / 0.05) for radius in RADII.values()]
        return rings[:, wanted].argmax(axis=1)


def lists_of(systems: np.ndarray, n_spots: int = 6) -> BraggLists:
    """Bragg lists of a scan: ``systems`` holds a system's name or "" at each position."""
    x, y = np.nonzero(systems != "")
    angle = np.tile(2 * np.pi * np.arange(n_spots) / n_spots, len(x))
    radius = np.repeat([RADII[name] for name in systems[x, y]], n_spots)
    return build_bragg_lists(
        np.repeat(x, n_spots),
        np.repeat(y, n_spots),
        radius * np.cos(angle),
        radius * np.sin(angle),
        np.full(len(radius), 0.01),
        shape=systems.shape,
    )
