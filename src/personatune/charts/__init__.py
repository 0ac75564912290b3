"""Charts as Vega-Lite specifications, the same in page and report."""
