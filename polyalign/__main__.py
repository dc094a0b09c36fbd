"""`python -m polyalign`: the workflow's functions for data that is not from the workflow."""

from polyalign.cli import main

main()
