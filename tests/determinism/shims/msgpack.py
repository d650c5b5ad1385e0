"""Stands where msgpack is imported; no contract runs through it, so it has nothing."""
