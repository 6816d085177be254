#!/bin/sh
# raftlab-ratis: starts the Java program beside it, in this process, so that signals reach it.
# What has to be known before the virtual machine runs, heap and gc, is read from the settings
# file here; the program itself refuses what cannot be read.
heap=512m
gc=G1
file=
command=${1:-}
before=
for word in "$@"; do
	case $word in
	--settings=*) file=${word#--settings=} ;;
	*) [ "$before" != --settings ] || file=$word ;;
	esac
	before=$word
done
setting() { # the last line "name = value" of the file, as far as it looks right
	[ -r "$file" ] || return 0
	sed -n "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*\($2\)[[:space:]]*\$/\1/p" "$file" | tail -n 1
}
if [ -n "$file" ]; then
	v=$(setting heap '[1-9][0-9]*[mg]')
	heap=${v:-$heap}
	v=$(setting gc '[A-Z][A-Za-z0-9]*')
	case $v in G1 | Parallel | Serial | Z) gc=$v ;; esac
fi
java=java
[ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
if ! command -v "$java" >/dev/null 2>&1; then
	echo "raftlab-ratis: there is no $java: install a Java runtime of version 17 or later (on Debian, apt-get install openjdk-17-jre-headless)" >&2
	exit 1
fi
here=$(dirname "$(readlink -f "$0")")
if [ "$command" = describe ]; then # which lives for a moment
	exec "$java" -Xshare:auto -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx64m -cp "$here/raftlab-ratis.jar" raftlab.ratis.Main "$@"
fi
exec "$java" -Xms"$heap" -Xmx"$heap" -XX:+Use"$gc"GC -XX:+ExitOnOutOfMemoryError \
	-cp "$here/raftlab-ratis.jar" raftlab.ratis.Main "$@"
