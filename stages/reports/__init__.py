"""The page about a run: its card, its ledger, its tables, charts and gallery."""
