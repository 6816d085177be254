package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const tableWidth = 80

// writePlain prints the report as the thesis does: the nodes that run.
func (r report) writePlain(w io.Writer) {
	switch {
	case r.Leader != nil:
		fmt.Fprintf(w, "Leader: %s (%s)\n", *r.Leader, r.leaderAddress)
	case r.silentLeader != "":
		fmt.Fprintf(w, "Leader: none (%s does not answer)\n", r.silentLeader)
	default:
		fmt.Fprintln(w, "Leader: none")
	}
	fmt.Fprintln(w, "Followers:")
	var outside []nodeReport
	for _, n := range r.Nodes {
		if n.State == stateStopped || (r.Leader != nil && n.Alias == *r.Leader) {
			continue
		}
		note := ""
		switch {
		case n.State != stateRunning:
			note = " " + n.State
		case *n.Role == roleNonmember:
			outside = append(outside, n)
			continue
		case *n.Role != "follower":
			note = " " + *n.Role
		}
		fmt.Fprintf(w, "- %s (%s)%s\n", n.Alias, n.RPCAddress, note)
	}
	if len(outside) > 0 {
		fmt.Fprintln(w, "Not members:")
	}
	for _, n := range outside {
		fmt.Fprintf(w, "- %s (%s)\n", n.Alias, n.RPCAddress)
	}
}

// writeWide prints a row for every node, at most 80 columns wide. What gossip
// tells is there where the nodes gossip.
func (r report) writeWide(w io.Writer) {
	rows := [][]string{{"NODE", "STATE", "GOSSIP", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG", "UPTIME", "PID"}}
	gossips := false
	for _, n := range r.Nodes {
		rows = append(rows, []string{n.Alias, n.State, text(&n.Gossip), text(n.Role), short(n.Term), short(n.CommitIndex), short(n.AppliedIndex),
			short(n.Lag), uptime(n.UptimeS), pid(n.PID)})
		gossips = gossips || n.GossipAddress != ""
	}
	leftAligned := 4 // node, state, gossip, role
	if !gossips {
		for i := range rows {
			rows[i] = slices.Delete(rows[i], 2, 3)
		}
		leftAligned--
	}
	writeTable(w, rows, leftAligned)
}

// writeTable aligns the rows, the columns from right on to the right. What would
// make it wider than 80 columns goes first from the gaps, then from the first
// column.
func writeTable(w io.Writer, rows [][]string, right int) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	total := 0
	for _, width := range widths {
		total += width
	}
	gap := 2
	if total+gap*(len(widths)-1) > tableWidth {
		gap = 1
	}
	if over := total + gap*(len(widths)-1) - tableWidth; over > 0 {
		widths[0] = max(widths[0]-over, len("NODE"))
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			cell = clip(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i > 0 {
				line.WriteString(strings.Repeat(" ", gap))
			}
			if i < right {
				line.WriteString(cell + pad)
			} else {
				line.WriteString(pad + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

func clip(s string, width int) string {
	if runes := []rune(s); len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return s
}

const unknown = "-"

func text(s *string) string {
	if s == nil || *s == "" {
		return unknown
	}
	return *s
}

func pid(n *int) string {
	if n == nil {
		return unknown
	}
	return strconv.Itoa(*n)
}

// short writes a count in at most six characters: those of a million and more
// with three digits and a unit.
func short(n *uint64) string {
	if n == nil {
		return unknown
	}
	if *n < 1_000_000 {
		return strconv.FormatUint(*n, 10)
	}
	value := float64(*n)
	for _, unit := range []string{"k", "M", "G", "T", "P"} {
		value /= 1000
		if value < 999.5 {
			return strconv.FormatFloat(value, 'g', 3, 64) + unit
		}
	}
	return fmt.Sprintf("%.0fE", value/1000)
}

// uptime writes a duration in at most six characters.
func uptime(seconds *float64) string {
	if seconds == nil {
		return unknown
	}
	d := time.Duration(*seconds * float64(time.Second)).Truncate(time.Second)
	days, hours := int(d.Hours())/24, int(d.Hours())%24
	minutes, secs := int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case days >= 100:
		return fmt.Sprintf("%dd", days)
	case days > 0:
		return fmt.Sprintf("%dd%02dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh%02dm", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%dm%02ds", minutes, secs)
	}
	return fmt.Sprintf("%ds", secs)
}
