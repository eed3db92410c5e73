"""Teach Whisper the events of a home: people's answers become an adapter, the adapter flags new conversations."""

import os

# These are people's home recordings: nothing about them, or about who listens to them, leaves the house.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
