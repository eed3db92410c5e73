"""What every error that a person should read has in common."""


class PipelineError(Exception):
    """What happened, on which document or file, and what to do; the command line prints the message and exits 1."""
