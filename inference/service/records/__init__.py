"""What was done, by whom: the audit log, each line chained to the last by hash."""
