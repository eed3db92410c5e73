#!/bin/sh
# Serves the Dagster UI: on your Chronicle when there is an event_detection.toml, else on the demo's data.
set -eu
serve="dagster dev -w workspace.yaml -h 127.0.0.1 -p 3000"
if [ ! -f event_detection.toml ] && [ -z "${MONGODB_URI:-}" ] && [ -d "$DEMO" ]; then
    exec "$BIN/python" -m event_detection_pipeline.demo.server "$DEMO" $serve
fi
export DAGSTER_HOME="${DAGSTER_HOME:-$PWD/.dagster}"
mkdir -p "$DAGSTER_HOME"
[ -e "$DAGSTER_HOME/dagster.yaml" ] || ln -s "$PWD/dagster.yaml" "$DAGSTER_HOME/dagster.yaml"
exec $serve
