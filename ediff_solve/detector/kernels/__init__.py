"""The detector, compiled: random numbers that hang on a pattern, and every effect."""
