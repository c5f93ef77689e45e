"""What a probe position scatters, and its counted frame: compiled, arrays only."""
