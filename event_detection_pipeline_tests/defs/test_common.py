"""Metadata in the form the UI shows whole."""

import dagster as dg

from event_detection_pipeline.defs.common import side_by_side, table


def rows_of(found: dg.TableMetadataValue | dg.TextMetadataValue) -> list[dict[str, object]]:
    assert isinstance(found, dg.TableMetadataValue)
    return [dict(record.data) for record in found.records]


def test_a_table_without_rows_says_so() -> None:
    assert table([]) == side_by_side([], "split") == dg.MetadataValue.text("none")


def test_numbers_stay_numbers_and_all_else_is_text() -> None:
    found = table([{"clips": 3, "share": 0.5, "event": True, "why": ("a", 1)}])
    assert rows_of(found) == [{"clips": 3, "share": 0.5, "event": True, "why": "('a', 1)"}]
    assert isinstance(found, dg.TableMetadataValue)
    assert [column.type for column in found.schema.columns] == ["int", "float", "bool", "string"]


def test_many_figures_of_few_things_stand_side_by_side() -> None:
    figures = [{"split": "validation", "clips": 27, "recall": "0.62"}, {"split": "test", "clips": 33, "recall": "1.00"}]
    assert rows_of(side_by_side(figures, "split")) == [
        {"figure": "clips", "validation": "27", "test": "33"},
        {"figure": "recall", "validation": "0.62", "test": "1.00"},
    ]
