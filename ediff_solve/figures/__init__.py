"""Figures of what goes beyond the paper; each ``figure_*`` gives a whole Matplotlib figure.

- :mod:`~ediff_solve.figures.scan_steps`: frames, origins, camera, particles, maps against truth
- :mod:`~ediff_solve.figures.unknown`: an unknown crystal
- :mod:`~ediff_solve.figures.predictor`: a predictor's card
"""
