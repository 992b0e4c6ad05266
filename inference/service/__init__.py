"""The batch service: watched folders and a REST address over the ledger, the engine and the workers."""
