package kvnode

import "strings"

// nearest returns the known name that got is most likely a slip of, or "": at
// most a third of its letters, rounded up, may differ.
func nearest(got string, known []string) string {
	best, least := "", len(got)
	for _, name := range known {
		limit := (max(len(got), len(name)) + 2) / 3
		if d := editDistance(strings.ToLower(got), name); d <= limit && d < least {
			best, least = name, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or change (Levenshtein).
func editDistance(a, b string) int {
	above := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := above[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above[j+1]+1, row[j]+1)
		}
		above = row
	}
	return above[len(b)]
}
