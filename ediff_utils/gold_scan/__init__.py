"""A simulated 4D-STEM scan of gold nanoparticles that is as awkward as a real one, with its truth."""
