"""Automatic measurements of samples, one file each."""
