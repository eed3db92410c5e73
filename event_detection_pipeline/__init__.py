"""Home microphones learn their owners' events: people's answers become a Whisper adapter, the adapter flags new audio."""
