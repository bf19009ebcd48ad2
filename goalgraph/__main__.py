"""`python -m goalgraph` is `goalgraph`."""

from goalgraph.cli import main

main()
