package main

import (
	"cmp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/cli"
)

// The groups that the help lists commands in.
const (
	groupCluster = "cluster"
	groupData    = "data"
	groupMembers = "members"
	groupCheck   = "check"
)

func newRoot() *cobra.Command {
	m := new(manager)
	root := cli.Root(&cobra.Command{
		Use:   "clusterctl",
		Short: "CLI utility to manage a kvnode cluster",
		Long: `CLI utility to manage a kvnode cluster: the processes that a cluster file
describes, their membership, and the keys they hold.

  clusterctl init 5                  describe five nodes in config.yaml
  clusterctl start                   start them; returns once all are ready
  clusterctl status                  who leads, who follows
  clusterctl set fruit pear          write through the leader, wherever it is
  clusterctl get fruit --node node2  read on one node

NODE is an alias of the cluster file, or "leader": the node that leads now.

Exit codes: 0 done, 1 failed, 2 wrong usage or cluster file, 3 a write's outcome
is unknown, 130 interrupted.`,
	})
	cli.Version(root, core.Version)
	// The program alone does nothing but print its help, so only the line with
	// [command] is worth showing.
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable .HasParent}}", 1))
	root.PersistentFlags().StringVarP(&m.config, "config", "c", clusterfile.DefaultPath, "path to config file (YAML or TOML)")
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml", "toml") // the flag is there
	add := func(id, title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: id, Title: title})
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
			for _, c := range append(c.Commands(), c) {
				if c.ValidArgsFunction == nil {
					c.ValidArgsFunction = cobra.NoFileCompletions
				}
			}
		}
	}
	add(groupCluster, "Cluster Commands:", newInit(m), newStart(m), newStatus(m), newStop(m), newRestart(m),
		newKill(m), newPause(m), newResume(m), newLogs(m), newWait(m))
	add(groupData, "Data Commands:", newGet(m), newSet(m), newDelete(m), newKeys(m), newBackup(m), newRestore(m))
	add(groupMembers, "Membership Commands:", newMembers(m), newReplace(m), newTransfer(m), newSnapshot(m), newRecover(m))
	add(groupCheck, "Checking Commands:", newLoad(m), newAudit(m))
	root.AddCommand(configTopic())
	checkCobras(root)
	return root
}

// checkCobras has the commands that cobra adds refuse what they do not know.
func checkCobras(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				if of, rest, err := root.Find(args); err != nil || of.HasSubCommands() {
					return cli.NoCommand(cmp.Or(of, root), rest)
				}
				return nil
			}
		case "completion":
			c.Args, c.RunE = cli.NoCommand, cli.Help
			for _, shell := range c.Commands() {
				shell.Args = cli.Wants(0, 0, "no argument")
			}
		}
	}
}

// above0 checks a flag that is a time.
func above0(flag string, d time.Duration) error {
	if d > 0 {
		return nil
	}
	return cli.Usagef("%s %v: must be above 0", flag, d)
}

// configTopic is "clusterctl help config".
func configTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "The cluster file: what it says, with an example",
		Long: `The cluster file says which nodes there are. 'clusterctl init' writes one with
ports that are free; --config names it, config.yaml without.

  data_dir: var                          # state and logs, a folder per node
  bin_path: bin                          # the folder that kvnode is in
  cluster_name: lab-1                    # keeps clusters on one network apart
  gossip_key: gossip.keys                # optional: see 'kvnode --help'
  cluster:
    - alias: node1                       # name of the node and of its folder
      http_address: "127.0.0.1:8080"     # clients
      rpc_address: "127.0.0.1:9000"      # Raft, between the nodes
      gossip_address: "127.0.0.1:7000"   # how they find each other: TCP and UDP
    - alias: node2
      http_address: "127.0.0.1:8081"
      rpc_address: "127.0.0.1:9001"
      gossip_address: "127.0.0.1:7001"
    - alias: node3
      http_address: "127.0.0.1:8082"
      rpc_address: "127.0.0.1:9002"
      gossip_address: "127.0.0.1:7002"
  kvnode:                                # optional: settings of every node,
    backend: bolt                        # keys as in 'kvnode --config FILE'
    raft: {heartbeat_timeout: 500ms}

On the first start the nodes, but for those with nonvoter: true, found the
cluster together. Without gossip one of them founds it, and the others join that
one: leave out cluster_name, gossip_key and gossip_address, and name it:

  leader: node1

A node may have a kvnode table of its own, which goes over the common one. A
file named .toml is read as TOML, with the nodes in [[cluster]] tables. All but
the kvnode tables is checked before anything starts; a mistake is reported with
its line.

Relative paths (data_dir, bin_path, gossip_key) are relative to the folder of
the file: commands mean the same from any folder, and a folder that holds file,
data and program may be moved whole while no node runs.

What a node writes is in data_dir/ALIAS: its state, node.log with its output,
node.pid while it runs: the id of its process, and nothing more.`,
	}
}
