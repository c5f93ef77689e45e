"""What a detector leaves of spot patterns: errors, lost and spurious spots, wrong calibration."""
