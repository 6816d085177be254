package clusterfile

import (
	"cmp"
	"slices"
	"strings"
)

// maxName is how long an id and the name of a cluster may be in gossip.
const maxName = 64

// discovery reads how the nodes find each other, which the file must say in one
// way: by a leader, or by gossip. Without a list of nodes, seen is nil.
func (r *reader) discovery(f *File, root value, fields map[string]entry, seen *taken) {
	leader, static := fields[keyLeader]
	if static {
		r.leader(f, leader)
	}
	if e, ok := fields[keyName]; ok {
		f.ClusterName = r.clusterName(e)
	}
	if e, ok := fields[keyGossipKey]; ok {
		f.GossipKey, _ = r.text(e, keyGossipKey)
	}
	switch {
	case seen == nil:
	case static:
		r.noGossip(leader.line, fields, seen)
	case !slices.ContainsFunc(seen.places, place.gossips):
		r.add(root.line, keyLeader, "missing, and the nodes have no %s either: add leader: %s, or give every node a %[1]s and the file a %[3]s",
			keyGossip, cmp.Or(f.Nodes[0].Alias, "node1"), keyName)
	default:
		r.allGossip(root.line, fields, seen)
	}
}

func (r *reader) leader(f *File, e entry) {
	var aliases []string
	for _, n := range f.Nodes {
		aliases = append(aliases, n.Alias)
	}
	var good bool
	if f.Leader, good = r.text(e, keyLeader); good && len(aliases) > 0 && !slices.Contains(aliases, f.Leader) {
		r.add(e.line, keyLeader, "no node is called %q; %s", abridge(f.Leader), hint(f.Leader, aliases))
	}
}

// clusterName checks the name with which gossip keeps clusters apart.
func (r *reader) clusterName(e entry) string {
	s, ok := r.text(e, keyName)
	switch {
	case !ok:
		return ""
	case strings.Trim(s, aliasLetters) != "" || s[0] == '-':
		r.add(e.line, keyName, "%q: use letters, digits, '.', '_' and '-', and do not begin with '-'", abridge(s))
	case len(s) > maxName:
		r.add(e.line, keyName, "longer than %d letters", maxName)
	}
	return s
}

// noGossip complains of settings that would have no effect.
func (r *reader) noGossip(leader int, fields map[string]entry, seen *taken) {
	useless := func(line int, key string) {
		r.add(line, key, "has no use beside %s (line %d), which founds the cluster: leave one of the two away", keyLeader, leader)
	}
	for _, key := range []string{keyName, keyGossipKey} {
		if e, ok := fields[key]; ok {
			useless(e.line, key)
		}
	}
	for _, p := range seen.places {
		if p.gossips() {
			useless(p.gossip, qualify(keyCluster, keyGossip))
		}
	}
}

// allGossip complains of what is missing for gossip.
func (r *reader) allGossip(top int, fields map[string]entry, seen *taken) {
	if _, ok := fields[keyName]; !ok {
		r.add(top, keyName, "missing: name the cluster, so that it never mixes with another one that gossips on this network")
	}
	for _, p := range seen.places {
		if !p.gossips() {
			r.add(p.node, qualify(keyCluster, keyGossip), "missing: without %s every node needs one", keyLeader)
		}
		if len(p.alias) > maxName {
			r.add(p.node, qualify(keyCluster, keyAlias), "longer than %d letters, which gossip cannot carry", maxName)
		}
	}
}
