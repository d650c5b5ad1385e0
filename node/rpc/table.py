"""Every method that a node answers: importing the modules enters them into METHODS."""

from node.rpc import about, accounts, blocks, calls, logs, sending, subscriptions
from node.rpc.context import METHODS as METHODS

MODULES = (about, accounts, blocks, calls, logs, sending, subscriptions)
