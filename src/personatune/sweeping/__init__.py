"""Sweeps: a plan of generation parameters, every reply that it wants made once, and what moving each one does."""
