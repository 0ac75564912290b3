"""The loop as pages in the browser, on this machine only."""
