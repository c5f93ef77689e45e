"""Compiled functions of the predictor."""
