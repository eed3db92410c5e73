"""Training clips: conversations cut and written as audio, and the manifest that lists them."""
