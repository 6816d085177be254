#!/bin/sh
# Builds OUTDIR/raftlab-braft against an installed braft and brpc. Where something that it
# needs is missing: one line that says what, and 3.
set -eu
unset MAKEFLAGS # of a make that calls this
if [ $# -ne 1 ]; then echo "usage: build.sh OUTDIR" >&2; exit 2; fi
here=$(cd "$(dirname "$0")" && pwd)
for tool in cmake "${CXX:-c++}"; do
	if ! command -v "$tool" > /dev/null; then echo "no $tool; on Debian: apt install cmake g++"; exit 3; fi
done
mkdir -p "$here/build" "$1"
log=$here/build/build.log
if ! cmake -S "$here" -B "$here/build" > "$log" 2>&1; then
	echo "cmake has failed, see $log; on Debian: apt install cmake g++ libssl-dev"
	exit 3
fi
missing=$(sed -n 's/^-- without braft (\(.*\)): .*/\1/p' "$log")
if [ -n "$missing" ]; then
	echo "no $missing: install baidu/braft and brpc up to 1.15 from their sources, as their pages say, and on Debian: apt install libgflags-dev libprotobuf-dev libprotoc-dev protobuf-compiler libleveldb-dev libssl-dev zlib1g-dev"
	exit 3
fi
if ! cmake --build "$here/build" --target raftlab-braft --parallel "$(getconf _NPROCESSORS_ONLN)" >> "$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "raftlab-braft does not build: $log" >&2
	exit 1
fi
cp "$here/build/raftlab-braft" "$1/raftlab-braft.new"
mv "$1/raftlab-braft.new" "$1/raftlab-braft"
