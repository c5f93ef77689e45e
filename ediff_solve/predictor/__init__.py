"""What an unknown crystal is, from any number of its patterns, at any orientation.

From spots (`spot_checks`) by way of `evidence` and trees (`boosting`) to an answer (`answering`).
"""
