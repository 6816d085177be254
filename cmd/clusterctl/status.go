package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/internal/prompt"
	"github.com/themilchenko/raftlab/kv/api"
)

type statusFlags struct {
	wide     bool
	output   string
	watch    bool
	interval time.Duration
}

func newStatus(m *manager) *cobra.Command {
	var f statusFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Show status of the cluster",
		Long: `Show who leads and who follows. Nodes that do not run are left out, unless
--wide or --output json asks for everything. LAG is how many log entries a node
is behind the leader.

With --watch the table is drawn again and again until Ctrl-C.

  --output json prints one object: "leader", the id of the leader or null, and
  "nodes", for each node of the cluster file in its order:
    alias, http_address, rpc_address, gossip_address, resp_address
                       as in the file
    log                path of its log; clusterctl logs shows it
    state              running, paused, unreachable or stopped
    pid, role, group, term, last_index, commit_index, applied_index,
    snapshot_index, lag (entries), uptime_s (seconds)
                       null where not known; of role, nonvoter is a follower
                       without a vote, nonmember a node that was removed, has
                       not joined, or is of another group: their ids, in group,
                       tell those apart
    gossip             alive, failed or left: what the other nodes hear of it,
                       by the leader if there is one; absent if not known, and
                       without gossip
    error              why the node does not answer; absent if it does
  With --watch it is one line each time.

Exit codes: 0 if there is a leader, 1 if there is none or no node answers, 2
wrong usage or cluster file. With --watch: 0 on Ctrl-C.`,
		Args: cli.Wants(0, 0, "no argument"),
	}
	c.Flags().BoolVarP(&f.wide, "wide", "w", false, "a table of all nodes")
	c.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	c.Flags().BoolVar(&f.watch, "watch", false, "go on until Ctrl-C, with the wide table")
	c.Flags().DurationVar(&f.interval, "interval", time.Second, "of --watch")
	c.RunE = m.on(func(ctx context.Context, s *session, _ []string) error {
		switch err := cmp.Or(outputFormat(f.output), above0("--interval", f.interval)); {
		case err != nil:
			return err
		case f.watch:
			return s.watchStatus(ctx, f)
		}
		return s.status(ctx, f)
	})
	return c
}

func (s *session) status(ctx context.Context, f statusFlags) (err error) {
	r := s.report(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch {
	case f.output == "json":
		err = writeJSON(s.stdout, r, "  ")
	case f.wide:
		r.writeWide(s.stdout)
		fmt.Fprintf(s.stdout, "Logs: %s\n", s.cluster.LogPath("NODE"))
	case !r.alive():
		return fmt.Errorf("no node runs; start them with %s", s.command("start"))
	default:
		r.writePlain(s.stdout)
	}
	if f.output != "json" {
		s.sayNonmembers(r)
		if text := s.leaderless(r); text != "" {
			fmt.Fprintln(s.stderr, text)
		}
	}
	if err == nil && r.Leader == nil {
		return cli.Said(exitFailed)
	}
	return err
}

// watchStatus prints the state until the context ends, which is no failure.
func (s *session) watchStatus(ctx context.Context, f statusFlags) error {
	header := ""
	err := poll.Until(ctx, f.interval, func() (bool, error) {
		r := s.report(ctx)
		switch {
		case ctx.Err() != nil:
			return true, nil
		case f.output == "json":
			return false, writeJSON(s.stdout, r, "")
		case prompt.Terminal(s.stdout):
			header = fmt.Sprintf("\x1b[H\x1b[J%s  %s  (Ctrl-C ends)\n\n", time.Now().Format(time.TimeOnly), s.path)
		}
		fmt.Fprint(s.stdout, header)
		header = "\n"
		r.writeWide(s.stdout)
		return false, nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func outputFormat(name string) error {
	if name != "text" && name != "json" {
		return cli.Usagef("--output %q: must be text or json", name)
	}
	return nil
}

func writeJSON(w io.Writer, v any, indent string) error {
	e := json.NewEncoder(w)
	e.SetIndent("", indent)
	return e.Encode(v)
}

// States of a node's process.
const (
	stateRunning     = "running"
	statePaused      = "paused"
	stateUnreachable = "unreachable" // runs, but does not answer
	stateStopped     = "stopped"
)

// What status calls a follower without a vote, and a node that the leader's
// configuration does not have, whether it was removed or has not joined.
const (
	roleNonvoter  = "nonvoter"
	roleNonmember = "nonmember"
)

// report is the state of a cluster: what status prints. Its JSON form is
// described in the help of status and stays as it is.
type report struct {
	Leader *string      `json:"leader"` // id; nil: no node that answers leads
	Nodes  []nodeReport `json:"nodes"`

	leaderAddress string // Raft
	silentLeader  string // named as leader by nodes, though it does not answer
}

// nodeReport is one node of the cluster file. What is not known is nil.
type nodeReport struct {
	Alias         string   `json:"alias"`
	State         string   `json:"state"`
	PID           *int     `json:"pid"`
	Role          *string  `json:"role"`
	Group         *string  `json:"group"`
	Term          *uint64  `json:"term"`
	LastIndex     *uint64  `json:"last_index"`
	CommitIndex   *uint64  `json:"commit_index"`
	AppliedIndex  *uint64  `json:"applied_index"`
	SnapshotIndex *uint64  `json:"snapshot_index"`
	Lag           *uint64  `json:"lag"`
	UptimeS       *float64 `json:"uptime_s"`
	HTTPAddress   string   `json:"http_address"`
	RPCAddress    string   `json:"rpc_address"`
	GossipAddress string   `json:"gossip_address,omitempty"`
	RESPAddress   string   `json:"resp_address,omitempty"`
	Log           string   `json:"log,omitempty"`
	Gossip        string   `json:"gossip,omitempty"`
	Error         string   `json:"error,omitempty"`

	follows string // id of the leader it names, its own if it leads
}

func newReport(nodes []process.NodeStatus) report {
	r := report{Nodes: make([]nodeReport, 0, len(nodes))}
	leader := process.Leading(nodes)
	switch named := process.Follows(nodes); {
	case leader != nil:
		r.Leader, r.leaderAddress = &leader.Me.ID, leader.Me.Address
	case named == nil:
	case slices.ContainsFunc(nodes, func(n process.NodeStatus) bool { return n.Node.Alias == named.ID }):
		r.silentLeader = named.ID
	default: // it is not in the cluster file, so it was not asked
		r.Leader, r.leaderAddress = &named.ID, named.Address
	}
	heard := heard(nodes, leader)
	for _, n := range nodes {
		report := reportNode(n, leader)
		report.Gossip = heard[n.Node.Alias]
		r.Nodes = append(r.Nodes, report)
	}
	return r
}

// heard returns what gossip tells of each node, by id: what the leader hears, or
// else the first node that hears anything.
func heard(nodes []process.NodeStatus, leader *api.Status) map[string]string {
	from := leader
	for _, n := range nodes {
		if from == nil && n.Status != nil && len(n.Status.Gossip) > 0 {
			from = n.Status
		}
	}
	states := make(map[string]string)
	if from != nil {
		for _, p := range from.Gossip {
			states[p.ID] = p.State
		}
	}
	return states
}

func reportNode(n process.NodeStatus, leader *api.Status) nodeReport {
	r := nodeReport{
		Alias:       n.Node.Alias,
		State:       stateOf(n),
		HTTPAddress: n.Node.HTTPAddress,
		RPCAddress:  n.Node.RPCAddress,
		Lag:         lagOf(n, leader),

		GossipAddress: n.Node.GossipAddress,
		RESPAddress:   n.Node.RESPAddress,
	}
	if n.State.Running {
		r.PID = &n.State.PID
	}
	if n.Err != nil && n.Status == nil && !errors.Is(n.Err, process.ErrNotRunning) {
		r.Error = n.Err.Error()
	}
	if s := n.Status; s != nil {
		me := s.Me
		r.PID = cmp.Or(r.PID, &me.PID)
		r.Role, r.Term, r.UptimeS = &me.Role, &me.Term, &me.UptimeS
		if me.Group != "" {
			r.Group = &me.Group
		}
		r.LastIndex, r.CommitIndex = &me.LastIndex, &me.CommitIndex
		r.AppliedIndex, r.SnapshotIndex = &me.AppliedIndex, &me.SnapshotIndex
		switch {
		case leader != nil && r.Group != nil && me.Group != leader.Me.Group: // it may lead one of its own
			*r.Role = roleNonmember
		case me.Role != "follower":
		case leader != nil && !process.Counts(leader, me.ID):
			*r.Role = roleNonmember
		case !me.Voter:
			*r.Role = roleNonvoter
		}
		if s.Leader != nil {
			r.follows = s.Leader.ID
		}
	}
	return r
}

func stateOf(n process.NodeStatus) string {
	switch {
	case n.State.Paused:
		return statePaused
	case n.Status != nil:
		return stateRunning
	case n.State.Running:
		return stateUnreachable
	}
	return stateStopped
}

// lagOf returns how many entries a node's log is shorter than the leader's: by what
// both have just answered, or else by what the leader last heard from it.
func lagOf(n process.NodeStatus, leader *api.Status) *uint64 {
	if leader == nil {
		return nil
	}
	if n.Status != nil {
		last := leader.Me.LastIndex
		lag := last - min(last, n.Status.Me.LastIndex)
		return &lag
	}
	for _, f := range leader.Followers {
		if f.ID == n.Node.Alias {
			return f.Lag
		}
	}
	return nil
}

// isNonmember says whether the node answers and is no member.
func (n nodeReport) isNonmember() bool { return n.Role != nil && *n.Role == roleNonmember }

// running counts the members that answer.
func (r report) running() int {
	n := 0
	for _, node := range r.Nodes {
		if node.State == stateRunning && !node.isNonmember() {
			n++
		}
	}
	return n
}

// nonmembers lists the nodes that answer and are none.
func (r report) nonmembers() []nodeReport {
	return slices.DeleteFunc(slices.Clone(r.Nodes), func(n nodeReport) bool { return !n.isNonmember() })
}

// alive reports whether the process of any node runs.
func (r report) alive() bool {
	return slices.ContainsFunc(r.Nodes, func(n nodeReport) bool { return n.State != stateStopped })
}

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
	for _, n := range r.Nodes {
		note := ""
		switch {
		case n.State == stateStopped, r.Leader != nil && n.Alias == *r.Leader, n.isNonmember():
			continue
		case n.State != stateRunning:
			note = " " + n.State
		case *n.Role != "follower":
			note = " " + *n.Role
		}
		fmt.Fprintf(w, "- %s (%s)%s\n", n.Alias, n.RPCAddress, note)
	}
	outside := r.nonmembers()
	if len(outside) > 0 {
		fmt.Fprintln(w, "Not members:")
	}
	for _, n := range outside {
		fmt.Fprintf(w, "- %s (%s)\n", n.Alias, n.RPCAddress)
	}
}

// writeWide prints a row for every node, at most 80 columns wide. What gossip
// tells is there where the nodes gossip, and where they serve the Redis protocol, or at
// which port, where that fits.
func (r report) writeWide(w io.Writer) {
	rows, leftAligned := r.wideRows(exact)
	if !fits(rows) {
		rows, leftAligned = r.wideRows(short)
	}
	for _, place := range []func(address string) string{func(at string) string { return at }, portOf} {
		if wider := r.withRESP(rows, place); wider != nil && fits(wider) {
			rows = wider
			break
		}
	}
	writeTable(w, rows, leftAligned)
}

// wideRows are those of the wide table without the Redis protocol; of the columns, the first
// leftAligned are texts.
func (r report) wideRows(count func(*uint64) string) (rows [][]string, leftAligned int) {
	rows = [][]string{{"NODE", "STATE", "GOSSIP", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG", "UPTIME", "PID"}}
	gossips := false
	for _, n := range r.Nodes {
		rows = append(rows, []string{n.Alias, n.State, text(&n.Gossip), text(n.Role), count(n.Term), count(n.CommitIndex), count(n.AppliedIndex),
			count(n.Lag), uptime(n.UptimeS), pid(n.PID)})
		gossips = gossips || n.GossipAddress != ""
	}
	if gossips {
		return rows, 4 // node, state, gossip, role
	}
	for i := range rows {
		rows[i] = slices.Delete(rows[i], 2, 3)
	}
	return rows, 3
}

// fits says whether the rows fit a line, with gaps of 1.
func fits(rows [][]string) bool { return sum(widthsOf(rows))+len(rows[0])-1 <= tableWidth }

// withRESP adds a column with the place of the nodes' Redis protocol; nil: none serves it.
func (r report) withRESP(rows [][]string, place func(address string) string) [][]string {
	wider, serves := [][]string{append(slices.Clone(rows[0]), "RESP")}, false
	for i, n := range r.Nodes {
		at := place(n.RESPAddress)
		serves = serves || at != ""
		wider = append(wider, append(slices.Clone(rows[i+1]), text(&at)))
	}
	if !serves {
		return nil
	}
	return wider
}

// portOf is the port of an address, with its colon.
func portOf(address string) string { return address[max(0, strings.LastIndexByte(address, ':')):] }

// widthsOf is how wide the columns have to be.
func widthsOf(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

func sum(widths []int) (total int) {
	for _, width := range widths {
		total += width
	}
	return total
}

// writeTable aligns the rows, the columns from right on to the right. What would
// make it wider than 80 columns goes first from the gaps, then from the first
// column.
func writeTable(w io.Writer, rows [][]string, right int) {
	widths := widthsOf(rows)
	total := sum(widths)
	gap := 2
	if total+gap*(len(widths)-1) > tableWidth {
		gap = 1
	}
	if over := total + gap*(len(widths)-1) - tableWidth; over > 0 {
		widths[0] = max(widths[0]-over, len("NODE"))
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			width := widths[i]
			if i < right {
				width = -width
			}
			cells[i] = fmt.Sprintf("%*s", width, clip(cell, widths[i]))
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, strings.Repeat(" ", gap)), " "))
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

func exact(n *uint64) string {
	if n == nil {
		return unknown
	}
	return strconv.FormatUint(*n, 10)
}

// short writes a count in at most six characters: those of a million and more
// with three digits and a unit.
func short(n *uint64) string {
	if n == nil || *n < 1_000_000 {
		return exact(n)
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
	whole := int(*seconds)
	days, hours, minutes, secs := whole/86400, whole/3600%24, whole/60%60, whole%60
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
