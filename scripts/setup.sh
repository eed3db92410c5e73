#!/bin/sh
# Makes the virtual environment $VENV with $PYTHON, pinned by constraints.txt.
set -eu
"$PYTHON" -c 'import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 12):
    sys.exit(f"Python 3.11 or 3.12 is needed, this is {sys.version.split()[0]}: make PYTHON=/path/to/python3.12 ...")'
echo "Setting up $VENV (once; a few minutes, mostly downloads) ..."
"$PYTHON" -m venv "$VENV"
pip="$VENV/bin/python -m pip --disable-pip-version-check"
$pip install -q --upgrade "$(grep '^pip==' constraints.txt)"

# PyPI's torch for Linux brings several GB of CUDA; without an NVIDIA card the CPU build does the same.
torch=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)
if ! command -v nvidia-smi >/dev/null 2>&1 && [ "$(uname -s)" = Linux ]; then
    $pip install -q "torch==$torch+cpu" 2>/dev/null ||
        $pip install -q --retries 1 --timeout 15 --index-url https://download.pytorch.org/whl/cpu "torch==$torch+cpu" \
            2>/dev/null ||
        echo "No CPU build of torch $torch found: installing the one of the index."
fi
$pip install -qq -c constraints.txt -e ".[demo,dev]"
