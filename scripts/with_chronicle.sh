#!/bin/sh
# Runs a command on your Chronicle when there is an event_detection.toml, an EVENT_DETECTION_CONFIG or a MONGODB_URI, else
# on the demo's data.
set -eu
# `dagster dev` says that it is superseded by `dg dev`, which is another package and does the same.
export PYTHONWARNINGS="${PYTHONWARNINGS:-ignore:Function}"
if [ ! -f event_detection.toml ] && [ -z "${EVENT_DETECTION_CONFIG:-}${MONGODB_URI:-}" ] && [ -d "$DEMO" ]; then
    exec "$BIN/python" -m event_detection_pipeline.demo.server "$DEMO" "$@"
fi
export DAGSTER_HOME="${DAGSTER_HOME:-$PWD/.dagster}"
mkdir -p "$DAGSTER_HOME"
[ -e "$DAGSTER_HOME/dagster.yaml" ] || ln -s "$PWD/dagster.yaml" "$DAGSTER_HOME/dagster.yaml"
exec "$@"
