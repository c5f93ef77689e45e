"""What every room needs: paths, settings, errors, progress, workers, seeds, intervals."""
