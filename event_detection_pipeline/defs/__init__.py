"""The Dagster layer: one asset a file, wiring and metadata only."""
