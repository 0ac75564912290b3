"""Pages: a module each, with its routes and what it shows."""
