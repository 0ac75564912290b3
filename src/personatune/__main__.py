"""`python -m personatune` is `personatune`."""

from personatune.cli import main

main()
