"""Figures in the paper's layout: ``plot_*`` draws data on given axes, ``figure_*`` assembles."""
