"""`event-detection`: the commands, thin over the same functions that the Dagster assets call."""
