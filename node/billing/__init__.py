"""Bills: what `contracts_py/metering.py` stores, priced again and proved, without running it."""
