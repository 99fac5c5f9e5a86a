"""The host: the engine thread, the supervisor of activities, and the public runtime."""
