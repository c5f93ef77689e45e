"""Numerical kernels. They take and return arrays, and know nothing of tables or plots."""
