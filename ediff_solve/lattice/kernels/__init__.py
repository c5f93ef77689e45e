"""Search, indexing and least squares of lattices: compiled, arrays only."""
