"""`omnilmm-lite live`: the command and its options."""
