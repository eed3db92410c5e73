"""Teach Whisper the events of a home: people's answers become an adapter, the adapter flags new conversations."""
