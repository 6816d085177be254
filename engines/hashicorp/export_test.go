package hashicorp

// VotesAtOnce returns an engine whose replicas vote as soon as they run, also after a
// restart.
func VotesAtOnce() Engine { return Engine{votesAtOnce: true} }
