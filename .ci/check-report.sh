#!/usr/bin/env bash
# Looks at the reports of run folders as a browser shows them, at 1200 and 390 px and on
# paper: tidy finds no fault in the markup and axe no barrier, no text of a drawing is on
# top of another, and nothing is wider than the page. What it needs and does not find, it
# says, and then fails nothing.
#
#	.ci/check-report.sh RUN...
set -euo pipefail

skipped() { echo "reports are NOT checked: $*"; exit 0; }
for tool in chromium tidy npm; do
	command -v "$tool" >/dev/null || skipped "there is no $tool"
done
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent axe-core@4.14.1 >/dev/null 2>&1 && tar xzf axe-core-4.14.1.tgz) || skipped "axe-core 4.14.1 cannot be fetched"

browser() { # [--flag...] URL
	chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" "$@" 2>/dev/null
}

# look PAGE WIDTH: a page in a frame of that width tells what it finds of itself.
look() {
	{
		cat "$1"
		echo "<script>"; cat "$work/package/axe.min.js"; echo "</script><script>"; cat "$here/check-report.js"; echo "</script>"
	} >"$work/page.html"
	cat >"$work/frame.html" <<-END
		<!DOCTYPE html><title>frame</title><iframe src="page.html" width="$2" height="20000"></iframe>
		<pre id="found">nothing was told</pre>
		<script>addEventListener("message", e => { if (e.data.found) found.textContent = ["", ...e.data.found, ""].join("\n") })</script>
	END
	browser --window-size=1400,20000 --virtual-time-budget=60000 --dump-dom "file://$work/frame.html" | sed -n '/<pre id="found">/,/<\/pre>/p' | sed 's/<[^>]*>//g; /^$/d'
}

failed=0
fail() { echo "$*" | sed "s|^|$page: |"; failed=1; }
for run in "$@"; do
	for page in "$run"/report*.html; do
		found=$(tidy -q -e "$page" 2>&1) || true
		[ -z "$found" ] || fail "$found"
		for width in 1200 390; do
			found=$(look "$page" "$width")
			[ "$found" = "all is well" ] || fail "at $width px: $found"
		done
		browser --no-pdf-header-footer --print-to-pdf="$work/page.pdf" "file://$(realpath "$page")"
		[ -s "$work/page.pdf" ] || fail "cannot be printed"
	done
done
[ "$failed" = 0 ] && echo "reports are in order: $*"
exit "$failed"
