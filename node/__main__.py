"""`python -m node` is the command `wattledger`."""

from node.main import main

main()
