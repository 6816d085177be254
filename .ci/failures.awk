# Reads the output of go test runs: passes on a line for each package, and at the end,
# for each that failed, the names of the failed tests and its last 30 lines.
/^(ok|\?) +\t|^\t.*coverage: / { print; fflush(); next }
/^FAIL\t/ {
	print; fflush()
	failed[++packages] = $2; from[packages] = begin + 1; to[packages] = lines; begin = lines
	next
}
/^FAIL$/ || /^$/ && lines == begin { next }
{ line[++lines] = $0 }
END {
	if (lines > begin) { failed[++packages] = "go test"; from[packages] = begin + 1; to[packages] = lines }
	for (p = 1; p <= packages; p++) {
		print "\n=== " failed[p]
		first = to[p] - 29
		if (first < from[p]) first = from[p]
		for (i = from[p]; i < first; i++) if (line[i] ~ /^ *--- FAIL|^panic:|^# /) print line[i]
		for (i = first; i <= to[p]; i++) print line[i]
	}
	if (packages) print "\nThe whole output is in " whole "."
}
