#!/bin/sh
# Builds and runs the tests of all but braft_member.cc and brpc_server.cc: neither braft nor
# brpc is needed. Where something else is missing: one line that says what, and 3.
set -eu
unset MAKEFLAGS # of a make that calls this
here=$(cd "$(dirname "$0")" && pwd)
for tool in cmake "${CXX:-c++}"; do
	if ! command -v "$tool" > /dev/null; then echo "no $tool; on Debian: apt install cmake g++"; exit 3; fi
done
dir=$here/build/test
mkdir -p "$dir"
if ! cmake -S "$here" -B "$dir" -DCMAKE_BUILD_TYPE=Debug > "$dir/log" 2>&1; then
	echo "cmake has failed; on Debian: apt install libssl-dev"
	cat "$dir/log" >&2
	exit 3
fi
if ! grep -q '^JSON_INCLUDE:PATH=/' "$dir/CMakeCache.txt"; then echo "no nlohmann/json.hpp; on Debian: apt install nlohmann-json3-dev"; exit 3; fi
cmake --build "$dir" --target braft-test --parallel "$(getconf _NPROCESSORS_ONLN)"
"$dir/braft-test" "$here/../../../kv"
