#!/bin/sh
# Builds raftlab-raft-rs into the folder OUTDIR.
# Ends with 0: built; 3: cargo is missing or too old, and standard output says what to
# install; anything else: the build failed.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
. ./tools.sh
cargo build --release --locked --jobs 2 >&2
install -m 755 target/release/raftlab-raft-rs "$out/raftlab-raft-rs"
