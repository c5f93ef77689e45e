"""Which patterns of a scan are alike: compiled, arrays only."""
