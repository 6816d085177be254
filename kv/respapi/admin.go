package respapi

import (
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/redcon"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
)

func ok(_ *conn, b []byte, _ [][]byte) ([]byte, error) { return append(b, "+OK\r\n"...), nil }

func ping(c *conn, b []byte, args [][]byte) ([]byte, error) {
	switch len(args) {
	case 1:
		return append(b, "+PONG\r\n"...), nil
	case 2:
		return c.appendFound(b, args[1], true)
	}
	return b, refuse("ERR wrong number of arguments for 'ping' command")
}

func echo(c *conn, b []byte, args [][]byte) ([]byte, error) { return c.appendFound(b, args[1], true) }

// auth is AUTH, which there is not.
func auth(_ *conn, b []byte, _ [][]byte) ([]byte, error) { return b, errAuth }

var errAuth = refuse("ERR AUTH: this server asks for no password: give the client none")

func quit(c *conn, b []byte, _ [][]byte) ([]byte, error) {
	c.quitting = true
	return append(b, "+OK\r\n"...), nil
}

func reset(c *conn, b []byte, _ [][]byte) ([]byte, error) {
	c.endTransaction()
	c.resp3, c.name, c.level, c.refuses, c.fresh = false, "", api.Linearizable, false, false
	return append(b, "+RESET\r\n"...), nil
}

func selectDB(_ *conn, b []byte, args [][]byte) ([]byte, error) {
	if text(args[1]) != "0" {
		return b, refuse("ERR DB index is out of range: there is only 0")
	}
	return append(b, "+OK\r\n"...), nil
}

// hello is HELLO [2 | 3 [SETNAME name]].
func hello(c *conn, b []byte, args [][]byte) ([]byte, error) {
	resp3, name := c.resp3, c.name
	if len(args) > 1 {
		switch text(args[1]) {
		case "2":
			resp3 = false
		case "3":
			resp3 = true
		default:
			return b, refuse("NOPROTO unsupported protocol version")
		}
	}
	for i := 2; i < len(args); i++ {
		switch {
		case is(args[i], "SETNAME") && i+1 < len(args):
			i++
			if err := checkName(args[i]); err != nil {
				return b, err
			}
			name = string(args[i])
		case is(args[i], "AUTH"):
			return b, errAuth
		default:
			return b, refuse("ERR syntax error in HELLO option %.40q", args[i])
		}
	}
	c.resp3, c.name = resp3, name
	role := "replica"
	if c.s.cfg.Node.Leads() {
		role = "master"
	}
	protocol := int64(2)
	if resp3 {
		protocol = 3
	}
	b = c.appendMap(b, 7)
	b = appendText(appendText(b, "server"), "raftlab")
	b = appendText(appendText(b, "version"), c.s.cfg.Version)
	b = redcon.AppendInt(appendText(b, "proto"), protocol)
	b = redcon.AppendInt(appendText(b, "id"), c.id)
	b = appendText(appendText(b, "mode"), "standalone")
	b = appendText(appendText(b, "role"), role)
	return redcon.AppendArray(appendText(b, "modules"), 0), nil
}

// checkName refuses names that would not stand in a line of CLIENT LIST.
func checkName(name []byte) error {
	if len(name) > maxNameBytes {
		return refuse("ERR a client's name of %d bytes: at most %d are allowed", len(name), maxNameBytes)
	}
	if slices.ContainsFunc(name, func(c byte) bool { return c <= ' ' || c > '~' }) {
		return refuse("ERR Client names cannot contain spaces, newlines or special characters.")
	}
	return nil
}

const maxNameBytes = 256

// client is CLIENT.
func client(c *conn, b []byte, args [][]byte) ([]byte, error) {
	switch sub := args[1]; {
	case is(sub, "SETNAME") && len(args) == 3:
		if err := checkName(args[2]); err != nil {
			return b, err
		}
		c.name = string(args[2])
	case is(sub, "GETNAME") && len(args) == 2:
		if c.name == "" {
			return c.appendNull(b), nil
		}
		return appendText(b, c.name), nil
	case is(sub, "ID") && len(args) == 2:
		return redcon.AppendInt(b, c.id), nil
	case is(sub, "SETINFO") && len(args) == 4:
	case is(sub, "INFO") && len(args) == 2:
		return appendText(b, c.describe(c.name)), nil
	case is(sub, "LIST") && len(args) == 2:
		var list strings.Builder
		for _, other := range c.s.all() {
			list.WriteString(other.describe(""))
		}
		return appendText(b, list.String()), nil
	default:
		return b, refuse("ERR CLIENT %.40q: there are SETNAME, GETNAME, ID, INFO, LIST and SETINFO", sub)
	}
	return append(b, "+OK\r\n"...), nil
}

func (c *conn) describe(name string) string {
	return fmt.Sprintf("id=%d addr=%s name=%s idle=%d\n", c.id, c.net.RemoteAddr(), name, int((c.s.now()-c.lastActive())/time.Second))
}

// commands is COMMAND [COUNT | DOCS | INFO name …].
func commands(c *conn, b []byte, args [][]byte) ([]byte, error) {
	names := c.s.sorted
	if len(args) > 1 {
		switch {
		case is(args[1], "COUNT"):
			return redcon.AppendInt(b, int64(len(names))), nil
		case is(args[1], "DOCS"):
			return c.appendMap(b, 0), nil
		case is(args[1], "INFO"):
			if len(args) > 2 {
				names = nil
				for _, arg := range args[2:] {
					names = append(names, strings.ToLower(string(arg)))
				}
			}
		default:
			return b, refuse("ERR COMMAND %.40q: there are COUNT, DOCS and INFO", args[1])
		}
	}
	b = redcon.AppendArray(b, len(names))
	for _, name := range names {
		k := c.s.table[name]
		if k == nil {
			b = c.appendNoArray(b)
			continue
		}
		b = redcon.AppendInt(appendText(redcon.AppendArray(b, 6), k.name), int64(k.arity))
		flags := strings.Fields(k.flags)
		b = redcon.AppendArray(b, len(flags))
		for _, flag := range flags {
			b = redcon.AppendString(b, flag)
		}
		for _, n := range k.keys {
			b = redcon.AppendInt(b, int64(n))
		}
	}
	return b, nil
}

// config is CONFIG GET pattern …, of what benchmarks ask for.
func config(c *conn, b []byte, args [][]byte) ([]byte, error) {
	if !is(args[1], "GET") {
		return b, refuse("ERR CONFIG %.40q: settings are given to kvnode when it starts; there is only GET", args[1])
	}
	known := [][2]string{
		{"appendonly", yesNo(c.s.cfg.Store.Durability == core.DurableDisk)}, {"databases", "1"},
		{"maxclients", strconv.Itoa(c.s.cfg.Connections)}, {"maxmemory", "0"}, {"save", ""}, {"timeout", "0"},
	}
	var found [][2]string
	for _, setting := range known {
		if slices.ContainsFunc(args[2:], func(arg []byte) bool {
			prefix, all := strings.CutSuffix(strings.ToLower(string(arg)), "*")
			return setting[0] == prefix || all && strings.HasPrefix(setting[0], prefix)
		}) {
			found = append(found, setting)
		}
	}
	return c.appendTexts(b, found), nil
}

func (c *conn) appendTexts(b []byte, pairs [][2]string) []byte {
	b = c.appendMap(b, len(pairs))
	for _, p := range pairs {
		b = appendText(appendText(b, p[0]), p[1])
	}
	return b
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// info is INFO [section …].
func info(c *conn, b []byte, args [][]byte) ([]byte, error) {
	status := c.s.cfg.Replica.Status()
	var text strings.Builder
	for _, section := range c.s.sections(status) {
		wanted := len(args) == 1 || slices.ContainsFunc(args[1:], func(arg []byte) bool {
			return is(arg, section.name) || is(arg, "all") || is(arg, "everything") || is(arg, "default")
		})
		if !wanted {
			continue
		}
		fmt.Fprintf(&text, "# %s\r\n", section.name)
		for _, line := range section.lines {
			fmt.Fprintf(&text, "%s:%v\r\n", line.key, line.value)
		}
		text.WriteString("\r\n")
	}
	return appendText(b, text.String()), nil
}

type section struct {
	name  string
	lines []line
}

type line struct {
	key   string
	value any
}

func (s *Server) sections(status core.Status) []section {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	role := "slave"
	if status.Role == core.Leader {
		role = "master"
	}
	uptime := int(s.now() / time.Second)
	return []section{
		{"Server", []line{{"redis_version", "7.2.0"}, {"redis_mode", "standalone"}, {"raftlab_version", s.cfg.Version},
			{"process_id", os.Getpid()}, {"uptime_in_seconds", uptime}}},
		{"Clients", []line{{"connected_clients", len(s.all())}, {"maxclients", s.cfg.Connections}}},
		{"Memory", []line{{"used_memory", memory.HeapAlloc}, {"used_memory_rss", memory.Sys}}},
		{"Persistence", []line{{"store", s.cfg.Store.Name}, {"durability", s.cfg.Store.Durability}, {"persistence", s.cfg.Persistence}}},
		{"Replication", []line{{"role", role}, {"connected_slaves", len(status.Followers)}}},
		{"Stats", []line{{"total_connections_received", s.stats.connections.Load()}, {"total_commands_processed", s.stats.total()},
			{"rejected_connections", s.stats.rejected.Load()}, {"slow_connections", s.stats.slow.Load()}}},
		{"Raft", []line{{"raft_id", status.ID}, {"raft_role", status.Role}, {"raft_term", status.Term}, {"raft_leader", status.LeaderID},
			{"raft_last_index", status.LastIndex}, {"raft_commit_index", status.CommitIndex}, {"raft_applied_index", status.AppliedIndex},
			{"raft_snapshot_index", status.SnapshotIndex}, {"raft_members", len(status.Members)}}},
		{"Commandstats", s.stats.lines(s.table, s.sorted)},
		{"Keyspace", []line{{"db0", fmt.Sprintf("keys=%d,expires=0,avg_ttl=0", s.cfg.Map.Len())}}},
	}
}

// raftStatus is RAFT.STATUS: what this node knows.
func raftStatus(c *conn, b []byte, _ [][]byte) ([]byte, error) {
	status := c.s.cfg.Replica.Status()
	at := ""
	if status.LeaderID != "" {
		at = c.s.cfg.Node.RESPAddress(c.s.ctx, status.LeaderID)
	}
	b = c.appendTexts(b, [][2]string{
		{"id", status.ID}, {"group", status.Group}, {"role", string(status.Role)}, {"leader", status.LeaderID}, {"leader_resp", at},
		{"term", strconv.FormatUint(status.Term, 10)}, {"last_index", strconv.FormatUint(status.LastIndex, 10)},
		{"commit_index", strconv.FormatUint(status.CommitIndex, 10)}, {"applied_index", strconv.FormatUint(status.AppliedIndex, 10)},
		{"keys", strconv.Itoa(c.s.cfg.Map.Len())}, {"commands", strconv.FormatUint(c.s.cfg.Map.Applied(), 10)},
	})
	return b, nil
}

// raftMembers is RAFT.MEMBERS: one map for each.
func raftMembers(c *conn, b []byte, _ [][]byte) ([]byte, error) {
	status := c.s.cfg.Replica.Status()
	b = redcon.AppendArray(b, len(status.Members))
	for _, m := range status.Members {
		http, _ := c.s.cfg.Map.HTTPAddress(m.ID)
		b = c.appendTexts(b, [][2]string{
			{"id", m.ID}, {"address", m.Address}, {"http", http}, {"resp", c.s.cfg.Node.RESPAddress(c.s.ctx, m.ID)},
			{"voter", yesNo(m.Voter)}, {"leader", yesNo(m.ID == status.LeaderID)},
		})
	}
	return b, nil
}

// raftReadLevel is RAFT.READLEVEL [linearizable | lease | stale], of this connection.
func raftReadLevel(c *conn, b []byte, args [][]byte) ([]byte, error) {
	if len(args) == 1 {
		return appendText(b, map[string]string{api.Linearizable: "linearizable", api.Leader: "lease", api.Stale: "stale"}[c.level]), nil
	}
	switch level := args[1]; {
	case len(args) == 2 && is(level, "linearizable"):
		c.level = api.Linearizable
	case len(args) == 2 && is(level, "lease"):
		c.level = api.Leader
	case len(args) == 2 && is(level, "stale"):
		c.level = api.Stale
	default:
		return b, refuse("ERR RAFT.READLEVEL [linearizable | lease | stale]")
	}
	c.fresh = false
	return append(b, "+OK\r\n"...), nil
}

// raftForward is RAFT.FORWARD [yes | no]: whether what another node leads is forwarded
// there, or refused with NOTLEADER.
func raftForward(c *conn, b []byte, args [][]byte) ([]byte, error) {
	switch {
	case len(args) == 1:
		return appendText(b, yesNo(!c.refuses)), nil
	case len(args) == 2 && is(args[1], "yes"):
		c.refuses = false
	case len(args) == 2 && is(args[1], "no"):
		c.refuses = true
	default:
		return b, refuse("ERR RAFT.FORWARD [yes | no]")
	}
	return append(b, "+OK\r\n"...), nil
}

// raftTransfer is RAFT.TRANSFER [id].
func raftTransfer(c *conn, b []byte, args [][]byte) ([]byte, error) {
	if len(args) > 2 {
		return b, refuse("ERR RAFT.TRANSFER [id]")
	}
	id := ""
	if len(args) == 2 {
		id = string(args[1])
	}
	if status := c.s.cfg.Replica.Status(); c.refuses && status.Role != core.Leader {
		return b, &core.NotLeaderError{LeaderID: status.LeaderID}
	}
	ctx, cancel := c.context()
	defer cancel()
	if err := c.s.cfg.Node.Transfer(ctx, id); err != nil {
		return b, err
	}
	return append(b, "+OK\r\n"...), nil
}

// raftSnapshot is RAFT.SNAPSHOT, of this node.
func raftSnapshot(c *conn, b []byte, _ [][]byte) ([]byte, error) {
	ctx, cancel := c.context()
	defer cancel()
	if err := c.s.cfg.Replica.Snapshot(ctx); err != nil {
		return b, err
	}
	return append(b, "+OK\r\n"...), nil
}

// raftDigest is RAFT.DIGEST, of this node's map.
func raftDigest(c *conn, b []byte, _ [][]byte) ([]byte, error) {
	_, sum := c.s.cfg.Map.Digest()
	return c.appendTexts(b, [][2]string{
		{"id", c.s.id}, {"keys", strconv.Itoa(c.s.cfg.Map.Len())}, {"commands", strconv.FormatUint(c.s.cfg.Map.Applied(), 10)},
		{"sha256", hex.EncodeToString(sum[:])},
	}), nil
}
