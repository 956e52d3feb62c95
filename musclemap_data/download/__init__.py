"""Videos of a manifest, fetched politely and recorded in the ledger."""
