"""Figures in the paper's layout: ``plot_*`` draws on given axes, ``figure_*`` gives a whole figure.

By the paper's numbers:

- :mod:`~ediff_utils.figures.structures`: 1, S1, and volumes of cells; with
  :mod:`~ediff_utils.figures.crystals` (a cell) and :mod:`~ediff_utils.figures.zone_axes`
- :mod:`~ediff_utils.figures.basis`: 2 and S2
- :mod:`~ediff_utils.figures.votes`: 3
- :mod:`~ediff_utils.figures.classification`: 4, S3, S5 and S6
- :mod:`~ediff_utils.figures.lattice`: 5, 6 and S7 to S9
- :mod:`~ediff_utils.figures.scan`: 7, S4 and S10

Beyond them :mod:`~ediff_utils.figures.orders`, :mod:`~ediff_solve.figures.aggregation`,
:mod:`~ediff_solve.figures.reliability`, :mod:`~ediff_solve.figures.protocols` and
:mod:`~ediff_solve.figures.scaling`. All share :mod:`~ediff_utils.figures.style` and
:mod:`~ediff_utils.figures.spots`.
"""
