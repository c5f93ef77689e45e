"""What an unknown crystal is, from any number of its patterns, at any orientation."""
