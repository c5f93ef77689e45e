"""Maps of a scan: its particles, the predictor's answers, their files and a report."""
