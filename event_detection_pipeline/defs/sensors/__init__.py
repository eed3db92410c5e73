"""What watches: the stash, new conversations, and what fails. Off until turned on in the UI."""

from event_detection_pipeline.defs.sensors.alerts import failed_checks, failed_runs
from event_detection_pipeline.defs.sensors.approvals import approvals
from event_detection_pipeline.defs.sensors.new_conversations import new_conversations
from event_detection_pipeline.defs.sensors.stash_growth import stash_growth

SENSORS = [approvals, stash_growth, new_conversations, failed_runs, failed_checks]
