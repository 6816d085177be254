// Package process starts, watches and stops the kvnode processes of a cluster
// file on this machine. It prints nothing: progress goes through a callback. It
// needs Unix.
//
// What it keeps of a node is in data_dir/alias, beside the node's own state:
//
//	node.pid      id of the process that runs the node, as in kill $(cat node.pid)
//	node.process  the same process for good: id, start, program, a line each
//	node.log      standard output and error of its processes, appended
//	kvnode.toml   the settings it was last started with, if there are any
//
// Of kvnode's own files it looks only whether node.json and nodes.json are there,
// how large the snapshots are, and who holds LOCK locked.
//
// A process is known by its id together with its start, so one that got the id
// of a dead node is never signalled; on Linux it is held by a descriptor, so
// that nothing comes between the check and the signal. A node.pid without
// node.process counts if the process is a kvnode with that data path, and where
// both are lost the kvnode that has the data locked is the node.
//
// Who starts or ends nodes locks data_dir/clusterctl.lock meanwhile. Who starts some
// notes in data_dir/clusterctl.json which cluster that is: another one's nodes may
// have the same aliases.
package process
