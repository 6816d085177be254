#!/bin/sh
# Builds raftlab-raft-rs into the folder OUTDIR.
# Ends with 0: built; 3: cargo is missing or too old, and standard output says what to
# install; anything else: the build failed.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
install="raft-rs needs Rust $need or later (cargo and rustc, for example by rustup) and a C compiler"
have=$(cargo --version 2>/dev/null | sed 's/^cargo \([0-9.]*\).*/\1/') || true
if [ -z "$have" ] || ! rustc --version >/dev/null 2>&1; then
    echo "$install: there is none"
    exit 3
fi
if [ "$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1)" != "$need" ]; then
    echo "$install: there is $have"
    exit 3
fi
if ! command -v cc >/dev/null 2>&1; then
    echo "$install: there is no cc"
    exit 3
fi
cargo build --release --locked --jobs 2 >&2
install -m 755 target/release/raftlab-raft-rs "$out/raftlab-raft-rs"
