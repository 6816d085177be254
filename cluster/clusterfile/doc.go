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
// In TOML the nodes are [[cluster]] tables. Relative paths are relative to the
// current directory, not to the file.
//
// Reading is strict: a key that is not listed here, a value of the wrong type
// and an address given twice are errors that name file, line and mend. The
// settings below kvnode are kvnode's own to check. The package never starts
// anything and never looks whether the folders exist.
package clusterfile
