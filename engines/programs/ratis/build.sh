#!/bin/sh
# build.sh OUTDIR: builds OUTDIR/raftlab-ratis and the jar beside it. Exit code 3 and a line
# that says what to install where the tools are not there.
set -eu
out=${1:?usage: build.sh OUTDIR}
here=$(cd "$(dirname "$0")" && pwd)

missing() {
	echo "raftlab-ratis needs a JDK of version 17 or later and Maven ($1): on Debian, apt-get install openjdk-17-jdk-headless maven"
	exit 3
}
javac=javac
[ -z "${JAVA_HOME:-}" ] || javac=$JAVA_HOME/bin/javac
command -v "$javac" >/dev/null 2>&1 || missing "there is no javac"
command -v mvn >/dev/null 2>&1 || missing "there is no mvn"
version=$("$javac" -version 2>&1 | sed 's/^javac \([0-9]*\).*/\1/')
[ "$version" -ge 17 ] 2>/dev/null || missing "javac is of version $version"

# Maven reports failures on standard output; what is already in its cache is not asked for again.
# Without noreset its terminal library writes codes that end a colour, where none has begun.
MAVEN_OPTS="${MAVEN_OPTS:-} -Djansi.noreset=true" mvn -q -B -f "$here/pom.xml" package >&2
mkdir -p "$out"
cp "$here/target/raftlab-ratis.jar" "$out/raftlab-ratis.jar.new"
mv "$out/raftlab-ratis.jar.new" "$out/raftlab-ratis.jar" # a member that runs keeps its own
cp "$here/raftlab-ratis.sh" "$out/raftlab-ratis"
chmod +x "$out/raftlab-ratis"
