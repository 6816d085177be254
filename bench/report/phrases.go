package report

// phrases is everything that a report says, in one language. Fields with verbs
// are filled in by position, so that a language may have its own order of words.
type phrases struct {
	// Units and words.
	Nanoseconds, Microseconds, Milliseconds, Seconds string
	OpsPerSecond, CoresUnit                          string
	ByteUnits                                        []string
	Nodes, NodesAt, Clients, ClientsAt               noun
	Trials, TrialsOf, CellsOf, Comparisons           noun
	Times                                            noun
	Terms                                            map[string]string // words of the raw data
	FactorNames                                      map[string]string // by qualified key
	DurabilityWord, DurabilityText                   map[string]string
	ModeWords                                        map[string][2]string // where the members run: by itself, and as a circumstance
	Respects                                         [3]string            // by respect

	// Labels of cells.
	OverTransport, OnEngine, WithBackend, WithNodes, AtClients, AtRate string
	ValuesOf, WithValuesOf, ReadsOf, ReadsAt, With                     string
	ClosedLoopShort, ClosedLoopAt                                      string

	// The answer. "{latency}" stands for one of the first two.
	LatencyOfWrites, LatencyOfOperations      string
	AnswerSingle                              string // subject, p50, throughput
	AnswerPair                                string // subject, p50, times, p50 of the base
	AnswerPairSame, AnswerPairNot             string // subject, p50, base, p50 of the base
	AnswerGrows, AnswerFalls                  string // where, p50, from, p50, to, factor
	AnswerLevel, AnswerGrowthNot              string // where, from, p50, to, p50
	AnswerThroughput                          string // from, to
	AnswerList, AnswerListAlone               string // where, items
	AnswerItem, AnswerItemSame, AnswerItemNot string
	AnswerItemNone                            string
	TimesMore, TimesLess                      string // factor, base
	TimesMorePlaced, TimesLessPlaced          string // factor, circumstance of the base
	Versus                                    string
	InvalidWord                               string
	CautionNothing, CautionOneTrial           string
	CautionIncomplete                         string // trials run, planned
	CautionInvalid, CautionInvalidTrials      string // how many, of how many
	CautionMixed                              string
	CautionMemory                             string
	UnequalNote                               string // mark, respect, base, its value, this, its value
	WarnFewTrials, WarnCannotDiffer           string
	WarnLoneDifference, WarnZeroBase          string
	WarnFewSamples, WarnWindowDrift           string
	UnsteadyTrial                             string // number, ratio
	WarnHighSpread, WarnMachineDrift          string
	WarnInvalidTrials                         string
	InvalidTrial, InvalidTrialsAre            string // numbers, reason

	// Tables.
	Cell, What, Durability, Throughput, TrialsHead, Base string
	RatioTo, RatioToBase                                 string
	WritesHead, ReadsHead, Mean, Max, OverTime           string
	CPUHead, SyncsHead, LagHead                          string
	NoteInterval, NoteShare, NoteSame, NoteNotCompared   string
	NoteUnsure, NoteInvalid, NoteP, NoteTail             string

	// Headings.
	HeadQuestion, HeadAnswer, HeadOthers, HeadCautions  string
	HeadResults, HeadKinds, HeadPlots, HeadTail         string
	HeadGates, HeadWarnings, HeadMethod, HeadMachine    string
	HeadVersions, HeadRepeat, Figure                    string
	GatesIntro, NoWarnings                              string
	RepeatIntro, RepeatFolder, SeedWord, OverridesIntro string

	// How it was measured.
	MethodLoad, MethodTrials, MethodAck, MethodDurability, MethodReads string
	MethodLatency, MethodInterval, MethodTest, MethodValid             string
	MethodTrialsText                                                   string // warm-up, window, trials, seed
	MethodLatencyText, MethodIntervalText, MethodTestText              string
	MethodCoverage                                                     string // n, percent
	MethodValidText                                                    string
	ClosedLoop, OpenLoop, Values, Reads, Group                         string

	// Groups that come into being.
	DiscoveryWords                                      map[string][2]string // by itself, and as a circumstance
	DiscoveryText                                       map[string]string
	FirstLeader, AllVoters, MessagesAtRest, BytesAtRest string
	PerSecond, BytesPerSecond                           string
	FormationItem                                       string // name, first leader, all voters
	FormationRatioTo, FormationRatioToBase              string // base
	NoteSameFormation                                   string
	MethodFormation, MethodFormationText                string
	MethodDiscovery                                     string
	MethodResolution, MethodResolutionText              string // latest
	MethodRest, MethodRestText                          string // for how long
	FormationTrialsText                                 string // trials, seed
	FormationTestText                                   string // comparisons
	PlotFormation, PlotFormationCaption                 string
	PlotTraffic, PlotTrafficCaption                     string
	AxisTime, NodesAxis                                 string

	// The machine.
	CPUName, Cores, Memory, System, FileSystem, Loopback, Timer, Clock string
	InMemory, Measured, SessionHead                                    string

	// Plots.
	PlotLatency, PlotLatencyCaption                      string
	PlotInvalid                                          string
	PlotPoints                                           string // factors
	PlotThroughput, PlotThroughputCaption                string
	AxisPercentile, AxisLatency, AxisThroughput, AxisP50 string

	// The comparison of two runs.
	CompareSameMachine, CompareMachines, CompareCosts, CompareProbes, CompareWork string
	CompareDisk                                                                   string
	CompareDiffer                                                                 string // key, value in A, value in B
	CompareOnlyA, CompareOnlyB                                                    string
	CompareQuantities                                                             [3]string
	Directions                                                                    map[Direction]string
	CompareConclusion                                                             string // comparisons, found, percent
	CompareMargin, CompareMarginGiven                                             string
	CellsWarned                                                                   string
}
