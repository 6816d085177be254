#!/usr/bin/env bash
# Makes the README's picture of a run's report: its answer in a sentence and its first
# figure.
#
#	.ci/picture.sh RUN docs/report.png
set -euo pipefail
run=$1 out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
browser() { chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" "$@" "file://$work/page.html" 2>/dev/null; }
{
	cat "$run/report.html"
	cat <<-'END'
		<style>
		main { padding: 1.5rem; }
		section:not(.answer):not(:has(figure)), section:not(.answer) > :not(figure), figure ~ figure, details, .answer ~ section:has(figure) ~ section,
		.answer > :not(h2):not(.headline) { display: none; }
		section, figure { border: 0; margin: 1rem 0 0; }
		</style>
		<script>document.documentElement.dataset.height = Math.ceil(document.querySelector("main").getBoundingClientRect().height)</script>
	END
} >"$work/page.html"
height=$(browser --window-size=1000,4000 --dump-dom | sed -n 's/.*<html[^>]*data-height="\([0-9]*\)".*/\1/p')
browser --window-size="1000,$height" --force-device-scale-factor=1.5 --screenshot="$(realpath "$out")"
