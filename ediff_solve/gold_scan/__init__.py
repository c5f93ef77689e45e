"""A simulated 4D-STEM scan of gold nanoparticles, as awkward as a real one, with its truth."""
