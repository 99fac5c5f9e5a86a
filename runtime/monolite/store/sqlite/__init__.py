"""The SQLite store: one file in WAL mode, reached through apsw."""
