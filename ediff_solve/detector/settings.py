"""How good a detector is: the parameters of :mod:`ediff_solve.detector.effects`."""

from __future__ import annotations

from pydantic import Field

from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import Settings


class DetectorSettings(Settings):
    """How good a detector, its calibration and its spot finder are.

    A camera of 256 pixels across 2 q_max = 4 1/angstrom has pixels of 0.016 1/angstrom, which is
    what the defaults in reciprocal space are measured by. No measurement stands behind what the
    source calls an assumption.
    """

    # A fifth of such a pixel. An assumption.
    position_noise: float = Field(
        0.003, ge=0, le=0.1, description="standard deviation a coordinate [1/angstrom]"
    )
    # Bent crystals, background under the spot: an assumption. Log-normal keeps it above 0.
    intensity_noise: float = Field(
        0.2, ge=0, le=2, description="relative standard deviation, log-normal with mean 1"
    )
    # Ten bits between the background's noise and saturation. An assumption.
    dynamic_range: float = Field(
        1e-3, ge=0, lt=1, description="weakest spot as a fraction of the pattern's strongest"
    )
    # The project's own: from a long camera length to the radius of the paper's simulations.
    q_max_range: tuple[float, float] | None = Field(
        (0.8, 2.0), description="each pattern's q_max drawn from it [1/angstrom]; None: no limit"
    )
    # The project's own limit, three standard deviations: a camera length read off the microscope,
    # a few times as good as it where somebody calibrated it. The shape is an assumption.
    scale_error: float = Field(
        0.03,
        ge=0,
        le=0.5,
        description="largest error of a group's scale, which is normal, cut at three sigma",
    )
    # The project's own limit: projector lenses that nobody corrected for.
    ellipticity: float = Field(
        0.02, ge=0, le=0.5, description="a group's (major - minor) / mean axis is uniform up to it"
    )
    # A third of such a pixel. An assumption.
    centre_error: float = Field(
        0.005, ge=0, le=0.5, description="a group's, standard deviation a coordinate [1/angstrom]"
    )
    # One spot in twenty, and one in thirty. Assumptions.
    missing: float = Field(
        0.05, ge=0, le=1, description="probability that a spot above the floor is not found"
    )
    spurious: float = Field(
        0.03, ge=0, le=10, description="expected number, as a fraction of the real spots found"
    )
    # Off, as one asks for it knowing what the second grains are.
    second_grain: float = Field(
        0.0, ge=0, le=1, description="probability that another pattern lies over this one"
    )
    # Off, as intensity_noise stands for all that blurs intensities.
    counts: float = Field(
        0.0, ge=0, le=1e12, description="mean total of a pattern, with Poisson noise; 0: none"
    )

    def model_post_init(self, _context: object) -> None:
        """Check what a field alone cannot."""
        low, high = self.q_max_range or (1, 1)
        if not 0 < low <= high <= 4:
            raise UserError("q_max_range: expected two rising values above 0 and up to 4")


#: A detector that changes nothing, to the last bit.
CLEAN = DetectorSettings.model_validate(
    dict.fromkeys(DetectorSettings.model_fields, 0) | {"q_max_range": None}
)
