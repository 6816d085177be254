package identity

import (
	"github.com/themilchenko/raftlab/core"
)

// Left returns the identity of data that no replica runs on, but for its id, which a log
// does not keep. Another engine's log is refused as core.ErrInvalid. Nothing is written.
func Left(logs core.LogStore, engine string, found State) (core.Identity, error) {
	if _, err := usedBy(logs, engine, found); err != nil {
		return core.Identity{}, err
	}
	incarnation, err := core.Imprint(logs, "", found.HoldsData())
	if err != nil {
		return core.Identity{}, err
	}
	group, err := groupOf(logs, found)
	if err != nil {
		return core.Identity{}, err
	}
	former, err := formerOf(logs)
	return core.Identity{Incarnation: incarnation, Group: group, Former: former}, err
}

// Used says whether a log store has an identity: it does not tell of entries.
func Used(logs core.LogStore) (bool, error) {
	engine, err := Engine(logs)
	if err != nil || engine != "" {
		return true, err
	}
	incarnation, err := core.Imprint(logs, "", false)
	if err != nil || incarnation != "" {
		return true, err
	}
	group, err := core.ImprintedGroup(logs)
	return group != "", err
}

// Found writes the identity of a replica of engine into a log store that has none.
func Found(logs core.LogStore, engine string, who core.Identity) error {
	if engine != Unmarked {
		if err := mark(logs, engine); err != nil {
			return err
		}
	}
	if _, err := core.Imprint(logs, who.Incarnation, false); err != nil {
		return err
	}
	if err := imprintFormer(logs, who.Former); err != nil {
		return err
	}
	return core.ImprintGroup(logs, who.Group)
}
