"""The Chronicle app's database: its documents, queries and audio."""
