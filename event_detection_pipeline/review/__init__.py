"""The user loop: the HTTP API and the page on which people answer what the scan flagged, and figures of the answers."""
