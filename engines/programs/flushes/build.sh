#!/bin/sh
# Builds OUTDIR/libraftlab-flushes.so. Without a C compiler, or where there is no LD_PRELOAD
# as Linux has it: one line that says so, and 3.
set -eu
if [ $# -ne 1 ]; then echo "usage: build.sh OUTDIR" >&2; exit 2; fi
cc=${CC:-cc}
if [ "$(uname -s)" != Linux ]; then echo "flushes of programs are counted on Linux only"; exit 3; fi
if ! command -v "$cc" > /dev/null; then echo "no C compiler ($cc); on Debian: apt install gcc libc6-dev"; exit 3; fi
mkdir -p "$1"
"$cc" -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror -fPIC -shared -o "$1/libraftlab-flushes.so.new" \
	"$(dirname "$0")/preload/flushes.c" -ldl
mv "$1/libraftlab-flushes.so.new" "$1/libraftlab-flushes.so"
