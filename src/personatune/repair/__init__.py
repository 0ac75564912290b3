"""A persona's folder looked over, however damaged: what is found, what is mended, what is left to the author."""
