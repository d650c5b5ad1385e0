"""The demo: real processes on this machine do the main job, and a person watches them."""
