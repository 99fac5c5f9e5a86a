"""The command line: start, inspect and steer runs; each module is one command or one noun."""
