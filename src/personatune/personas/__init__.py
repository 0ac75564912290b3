"""The built-in original characters: one folder each."""
