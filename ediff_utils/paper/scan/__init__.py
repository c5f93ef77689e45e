"""The scan of figure 7: spots (``bragg``), maps of them (``maps``), their numbers (``summary``)."""
