"""Random forests that look at every feature of every split, grown on features in bytes."""
