"""The second wall: contracts run in a process without file, network or process rights."""
