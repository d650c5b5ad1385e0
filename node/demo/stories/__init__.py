"""The stories: each published system's experiment, on a network of four real processes.

Every number that is shown as ours is read from the running network, or measured while it runs.
"""
