"""Bills that reconcile: what providers say they charge, against the ledger, each difference by its name."""
