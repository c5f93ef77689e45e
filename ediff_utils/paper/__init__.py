"""The paper's method, in the order of its text.

Features (equations 1 and 2; stored by ``feature_files``), the split of the materials (``labels``),
the forests of table 1 (``models``, ``training``, ``checkpoints``), their answers (``votes``,
``predictions``), figure 3 (``aggregation``), figures 4 to 6 (``evaluation``), the scan of gold
particles, figure 7 (``scan``), and all of it beside the printed numbers (``published``,
``comparison``, ``results``, ``provenance``). ``pooling``, ``protocols`` and ``reliability`` go
beyond the paper.
"""
