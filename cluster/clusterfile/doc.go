// Package clusterfile reads and writes the description of a local cluster of
// kvnode processes, as YAML (.yaml, .yml) or TOML (.toml):
//
//	data_dir: var                        # state and logs, one folder per node [var]
//	bin_path: bin                        # the folder that kvnode is in [bin]
//	leader: node1                        # founds the cluster
//	cluster:
//	  - alias: node1                     # id of the node, name of its folder
//	    http_address: "127.0.0.1:8080"
//	    rpc_address: "127.0.0.1:9000"    # Raft
//	    kvnode: {log-level: debug}       # settings of this node only
//	kvnode:                              # settings of every node: keys of kvnode --config
//	  backend: bolt
//	  raft: {heartbeat_timeout: 500ms}
//
// Without a leader the nodes find each other by gossip. Then each has an address
// for it, the cluster a name that must never change, and there may be a key:
//
//	cluster_name: lab-1                  # keeps clusters on one network apart
//	gossip_key: gossip.keys              # path of the file of kvnode --gossip-key
//	cluster:
//	  - alias: node1
//	    http_address: "127.0.0.1:8080"
//	    rpc_address: "127.0.0.1:9000"
//	    gossip_address: "127.0.0.1:7000" # TCP and UDP
//
// In TOML the nodes are [[cluster]] tables. Relative paths are relative to the
// folder of the file.
//
// Reading is strict: a key that is not listed here, a value of the wrong type
// and an address given twice are errors that name file, line and mend. The
// settings below kvnode are kvnode's own to check. The package never starts
// anything and never looks whether the folders exist.
package clusterfile
