#!/bin/sh
# Runs the unit tests. Ends with 0: they pass; 3: cargo is missing or too old, and standard
# output says what to install; anything else: they fail.
set -eu
cd "$(dirname "$0")"
. ./tools.sh
cargo test --release --locked --jobs 2
