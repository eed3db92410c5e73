"""The operations that write, each with what it promises."""

from event_detection_pipeline_tests.faults.operations.answering import Answering
from event_detection_pipeline_tests.faults.operations.exporting import Exporting
from event_detection_pipeline_tests.faults.operations.forgetting import Forgetting
from event_detection_pipeline_tests.faults.operations.operation import Operation
from event_detection_pipeline_tests.faults.operations.promoting import Promoting
from event_detection_pipeline_tests.faults.operations.scanning import Scanning
from event_detection_pipeline_tests.faults.operations.training import Training
from event_detection_pipeline_tests.faults.operations.writing import WritingManifest

OPERATIONS: dict[str, Operation] = {
    one.name: one
    for one in (Exporting(), Promoting(), Scanning(), Answering(), Forgetting(), WritingManifest(), Training())
}
