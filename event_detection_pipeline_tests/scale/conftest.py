"""What the tests of this folder share."""

# The settings of a household with one event; a test adds its own tables.
CHIME = """\
base_model = "{base_model}"
device = "cpu"
[[events]]
name = "chime"
"""
