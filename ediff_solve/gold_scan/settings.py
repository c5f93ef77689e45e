"""What a simulated scan of gold nanoparticles is made of."""

from __future__ import annotations

from pydantic import Field

from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import Settings


class GoldScanSettings(Settings):
    """The specimen, the microscope and the detector of a simulated scan.

    Energy, convergence, step and dose are those of a nanobeam experiment; what the source calls an
    assumption was chosen to be as awkward as such an experiment, and no measurement stands behind
    it.
    """

    scan_size: int = Field(64, ge=2, le=4096, description="probe positions along x and y")
    step: float = Field(21.0, gt=0, le=1e4, description="distance of positions [angstrom]")
    frame_size: int = Field(192, ge=16, le=4096, description="detector pixels along qx and qy")
    # Half a frame is 1.44 1/angstrom and a disk's radius 2.1 pixels. An assumption.
    pixel_size: float = Field(0.015, gt=0, le=0.2, description="[1/angstrom], before distortion")
    energy: float = Field(300e3, ge=1e3, le=2e6, description="beam energy [eV]")
    convergence: float = Field(0.63, gt=0, le=50, description="semi-angle of the probe [mrad]")
    dose: float = Field(400.0, gt=0, le=1e7, description="electrons a square angstrom")

    diameters: tuple[float, float] = Field(
        (30.0, 200.0), description="of the particles, uniform between them [angstrom]"
    )
    # These shares are assumptions.
    coverage: float = Field(
        0.35, gt=0, le=0.8, description="area of all particles as a fraction of the scan's"
    )
    overlapping: float = Field(
        0.15, ge=0, le=1, description="share of the particles that lie partly on another one"
    )
    twinned: float = Field(0.4, ge=0, le=1, description="share of the particles that have twins")
    five_fold: float = Field(0.3, ge=0, le=1, description="share of these that are decahedra")
    textured: float = Field(
        0.3, ge=0, le=1, description="share of the particles with [111] along the beam"
    )
    texture_spread: float = Field(
        5.0, ge=0, le=90, description="their tilt's standard deviation an axis [degree]"
    )

    # A film of some nanometres: assumptions, as are the two rings (see microscope).
    carbon: float = Field(0.05, ge=0, lt=1, description="share of the electrons the film scatters")
    diffuse_length: float = Field(
        2000.0, gt=0, description="path in gold after which 1/e are not diffuse [angstrom]"
    )

    # The detector and the lenses: assumptions.
    point_spread: float = Field(
        0.5, ge=0, le=5, description="Gaussian spread, standard deviation [pixels]"
    )
    tails: float = Field(0.03, ge=0, le=1, description="share of the spread that is Lorentzian")
    tail_width: float = Field(1.5, gt=0, le=50, description="its half width [pixels]")
    hot_pixels: float = Field(2e-4, ge=0, le=0.1, description="share of the detector's pixels")
    hot_counts: tuple[float, float] = Field(
        (20.0, 2000.0), description="their mean counts a frame, log-uniform between them"
    )
    centre_offset: float = Field(
        3.0, ge=0, le=100, description="largest constant shift of the beam an axis [pixels]"
    )
    descan: float = Field(
        2.0, ge=0, le=100, description="largest further shift over the scan an axis [pixels]"
    )
    ellipticity: tuple[float, float] = Field(
        (0.01, 0.03), description="(major - minor) / mean axis, drawn between them"
    )
    rotation: float | None = Field(
        None, ge=-360, le=360, description="of the detector against the scan [degree]; None: drawn"
    )

    # Beams at an excitation error of 0.06 1/angstrom come and go within 17 angstrom.
    thickness_step: float = Field(
        1.0, gt=0, le=50, description="of the series that intensities are read from [angstrom]"
    )
    q_max: float = Field(2.0, gt=0, le=4, description="outermost simulated beam [1/angstrom]")
    calibrated: bool = Field(
        False, description="the file of frames tells step and pixel size; a real one may not"
    )
    # That of a camera length as a microscope states it. An assumption.
    pixel_size_error: float = Field(
        0.0, gt=-0.2, lt=0.2, description="share by which the file's pixel size is off"
    )
    seed: int = Field(0, ge=0, le=2**63 - 1)

    def model_post_init(self, _context: object) -> None:
        """Check what a field alone cannot."""
        for name, low, high in (
            ("diameters", 4.0, 1e4),
            ("hot_counts", 1e-3, 65535.0),
            ("ellipticity", 0.0, 0.5),
        ):
            first, last = getattr(self, name)
            if not low <= first <= last <= high:
                raise UserError(
                    f"{name}: expected two rising values from {low:g} to {high:g}, "
                    f"got {first:g} and {last:g}"
                )

    @property
    def disk_radius(self) -> float:
        """Radius of a diffraction disk, alpha / lambda [1/angstrom]."""
        return self.convergence / 1e3 / wavelength(self.energy)

    @property
    def electrons(self) -> float:
        """Electrons that reach the specimen at a probe position, dose times step squared."""
        return self.dose * self.step**2
