package backends_test

import (
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/core"
)

// A third party's store: any log store of hashicorp/raft plugs in unmodified.
func Example() {
	info := core.StoreInfo{Name: "library-memory", Library: "github.com/hashicorp/raft", Durability: core.DurableNothing}
	catalog := backends.Builtin()
	err := catalog.Register(info.Name, backends.Backend{
		Summary: "the library's own store in memory",
		Info: func(o core.Options) (core.StoreInfo, error) {
			return info, o.Read(info.Name).Err() // it has no options
		},
		OpenBare: func(dir string, o core.Options) (core.LogStore, error) {
			if err := o.Read(info.Name).Err(); err != nil {
				return nil, err
			}
			store := raft.NewInmemStore() // a store on disk would be opened in dir
			return core.AdaptStore(store, store, nil, info), nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	backend, err := catalog.Lookup("library-memory")
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := backend.Open("", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	fmt.Println(store.Describe().Name, "keeps", store.Describe().Durability)
	fmt.Println(catalog.Names())
	// Output:
	// library-memory keeps nothing
	// [bolt inmem library-memory mdb pebble wal]
}
