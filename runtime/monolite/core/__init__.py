"""The pure core: no clock, randomness, thread, I/O or SQL. Journal entries in, commands out."""
