"""From raw detector frames to calibrated Bragg lists."""
