"""Stores: where runs, journals and inboxes are kept. One protocol, one behaviour suite."""
