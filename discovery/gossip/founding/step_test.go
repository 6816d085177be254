package founding_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
)

func members(ids ...string) []core.Member {
	var m []core.Member
	for _, id := range ids {
		m = append(m, core.Member{ID: id, Incarnation: id, Address: id + ":1", Voter: true})
	}
	return m
}

func candidate(id string) founding.Record {
	return founding.Record{ID: id, Incarnation: id, Address: id + ":1", Alive: true, Voter: true, Expect: 3}
}

func proposes(r founding.Record, ids ...string) founding.Record {
	r.Proposal = founding.SetOf(members(ids...))
	return r
}

func promised(r founding.Record, ids ...string) founding.Record {
	r = proposes(r, ids...)
	r.Promised = true
	return r
}

func failed(r founding.Record) founding.Record {
	r.Alive = false
	return r
}

// wiped is r after it has lost its data.
func wiped(r founding.Record) founding.Record {
	r.Incarnation += "2"
	return r
}

func withState(r founding.Record, group ...string) founding.Record {
	r.Expect, r.HasState = 0, true
	r.Group = core.GroupID(members(group...))
	return r
}

func TestStep(t *testing.T) {
	fresh := founding.Self{ID: "b", Incarnation: "b", Address: "b:1", Expect: 3}
	proposing := fresh
	proposing.Proposal = founding.SetOf(members("a", "b", "c"))
	bound := fresh
	bound.Promise = members("a", "b", "c")
	founded := bound
	founded.Founded = true
	alone := founding.Self{ID: "b", Incarnation: "b", Address: "b:1", Expect: 1, Proposal: founding.SetOf(members("b"))}
	a, c, d := candidate("a"), candidate("c"), candidate("d")
	other := a
	other.Expect = 5
	nonvoter := c
	nonvoter.Voter, nonvoter.Expect = false, 0

	type records = []founding.Record
	for name, tc := range map[string]struct {
		self   founding.Self
		others records
		want   founding.Action
		ids    string // of the decision's members
		reason string
	}{
		"nobody":                     {fresh, nil, founding.Wait, "", "1 of 3"},
		"one":                        {fresh, records{a}, founding.Wait, "", "2 of 3 are here; others seen: a"},
		"one has failed":             {fresh, records{a, failed(c)}, founding.Wait, "", "2 of 3"},
		"one will not vote":          {fresh, records{a, nonvoter}, founding.Wait, "", "2 of 3"},
		"another number":             {fresh, records{other, c}, founding.Wait, "", "a expects 5 founders and this node 3"},
		"enough":                     {fresh, records{a, c}, founding.Propose, "abc", ""},
		"more than enough":           {fresh, records{d, a, c}, founding.Propose, "abc", ""},
		"not among the first":        {founding.Self{ID: "e", Incarnation: "e", Address: "e:1", Expect: 3}, records{a, c, d}, founding.Wait, "", "a, c, d found the group"},
		"the others do not yet":      {proposing, records{proposes(a, "a", "b", "c"), c}, founding.Wait, "", "waiting for c to propose"},
		"fewer again":                {proposing, records{a}, founding.Propose, "", ""},
		"all propose":                {proposing, records{proposes(a, "a", "b", "c"), proposes(c, "a", "b", "c")}, founding.Promise, "abc", ""},
		"one has promised":           {fresh, records{promised(a, "a", "b", "c"), c}, founding.Promise, "abc", ""},
		"one has, and failed":        {fresh, records{failed(promised(a, "a", "b", "c")), c}, founding.Promise, "abc", ""},
		"promised with one not seen": {fresh, records{promised(a, "a", "b", "x"), c}, founding.Wait, "", "does not see yet"},
		"promised without":           {fresh, records{promised(a, "a", "c", "d"), promised(c, "a", "c", "d"), d}, founding.Wait, "", "without this node"},
		"two promises, one is dead":  {fresh, records{promised(a, "a", "b", "d"), promised(c, "a", "b", "c"), d}, founding.Promise, "abd", ""},
		"promised later than own":    {fresh, records{a, c, promised(d, "b", "c", "d")}, founding.Propose, "abc", ""},
		"promised before own":        {fresh, records{promised(a, "a", "b", "c"), c, d}, founding.Promise, "abc", ""},
		"two promises, first wins":   {fresh, records{c, promised(d, "b", "c", "d"), promised(candidate("e"), "b", "c", "e")}, founding.Promise, "bcd", ""},
		"the other way round":        {fresh, records{c, promised(d, "b", "c", "d"), promised(candidate("a"), "a", "b", "c")}, founding.Promise, "abc", ""},
		"alone":                      {alone, nil, founding.Promise, "b", ""},
		"there is a group":           {fresh, records{withState(a), c}, founding.Join, "", ""},
		"there was a group":          {fresh, records{failed(withState(a)), c, d}, founding.Join, "", ""},

		"bound, one silent":           {bound, records{promised(a, "a", "b", "c"), c}, founding.Wait, "", "the promise of c"},
		"bound, one failed silent":    {bound, records{promised(a, "a", "b", "c"), failed(c)}, founding.Wait, "", "c does not answer"},
		"bound, one never seen":       {bound, records{promised(a, "a", "b", "c")}, founding.Wait, "", "c does not answer"},
		"bound, all have":             {bound, records{promised(a, "a", "b", "c"), promised(c, "a", "b", "c")}, founding.Found, "abc", ""},
		"bound, all have, one failed": {bound, records{failed(promised(a, "a", "b", "c")), promised(c, "a", "b", "c")}, founding.Found, "abc", ""},
		"bound, one founded":          {bound, records{withState(a, "a", "b", "c")}, founding.Found, "abc", ""},
		"bound, one founded another":  {bound, records{withState(a, "a", "c", "d"), c}, founding.Join, "", ""},
		"bound, one bound elsewhere":  {bound, records{promised(a, "a", "c", "d"), c}, founding.Wait, "", "with a, which promised another"},
		"bound, another group":        {bound, records{withState(d, "d", "e", "f"), a, c}, founding.Wait, "", "d has state of another group"},
		"founded, then crashed":       {founded, nil, founding.Found, "abc", ""},

		"promised with data since lost": {fresh, records{wiped(a), promised(c, "a", "b", "c")}, founding.Wait, "", "does not see yet"},
		"bound, one wiped":              {bound, records{wiped(a), promised(c, "a", "b", "c")}, founding.Wait, "", "a has lost its data"},
		"bound, one wiped and bound":    {bound, records{promised(wiped(a), "a", "x", "y"), c}, founding.Wait, "", "a has lost its data"},
		"bound, one wiped, one founded": {bound, records{wiped(a), withState(c, "a", "b", "c")}, founding.Found, "abc", ""},
		"bound, one wiped and elsewhere": {bound, records{withState(wiped(a), "x"), promised(c, "a", "b", "c")}, founding.Wait, "",
			"a has state of another group"},
	} {
		t.Run(name, func(t *testing.T) {
			got := founding.Step(tc.self, tc.others)
			ids := ""
			for _, m := range got.Members {
				ids += m.ID
			}
			if got.Action != tc.want || ids != tc.ids || !strings.Contains(got.Reason, tc.reason) {
				t.Errorf("%s %q: %q\nwant %s %q: %q", got.Action, ids, got.Reason, tc.want, tc.ids, tc.reason)
			}
			if (got.Reason != "") != (got.Action == founding.Wait) {
				t.Errorf("%s with reason %q", got.Action, got.Reason)
			}
		})
	}
}

func TestSet(t *testing.T) {
	s := founding.SetOf(members("a", "b"))
	if diff := cmp.Diff(s, founding.SetOf(members("b", "a"))); diff != "" {
		t.Error("the order matters:", diff)
	}
	moved := members("a", "b")
	moved[1].Address = "b:2"
	if s.Equal(founding.SetOf(moved)) {
		t.Error("the address does not matter")
	}
	lost := members("a", "b")
	lost[1].Incarnation = "another"
	if s.Equal(founding.SetOf(lost)) {
		t.Error("the incarnation does not matter")
	}
	seen := map[uint64]core.Member{}
	for _, m := range []core.Member{{ID: "ab", Address: "c"}, {ID: "a", Address: "bc"}, {ID: "a", Incarnation: "b", Address: "c"}} {
		f := founding.Fingerprint(m)
		if other, again := seen[f]; again {
			t.Errorf("%v and %v run together", m, other)
		}
		seen[f] = m
	}
}
