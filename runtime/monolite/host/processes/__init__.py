"""Child processes in which activities run, and the frames by which they are spoken to."""
