"""The engine and its workers: the ledger of work, the leases, the results committed once."""
