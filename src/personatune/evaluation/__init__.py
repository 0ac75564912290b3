"""From a suite to samples, signals and a report: where to look, never a grade."""
