"""Crystal structure from electron diffraction patterns, after Gleason et al. 2024.

The rooms, in the order in which data flows through them:
``structures -> patterns -> features -> models -> predictions -> figures``.
Each stage writes a file that the next one reads.
"""

__version__ = "0.1.0"
