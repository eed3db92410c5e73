"""The scan: what nobody has reviewed is scored and flagged; files, too."""
