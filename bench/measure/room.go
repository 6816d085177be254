package measure

// Resource is what a machine may not have enough of.
type Resource string

// The resources.
const (
	Memory Resource = "memory"
	Disk   Resource = "disk"
)

// Need is what a trial needs of a resource, and why. It is an estimate, and a product that
// may be far beyond any machine, so it is no integer.
type Need struct {
	Of    Resource
	Bytes float64
	Why   string // "3 members × 10000 keys of 1 KB"
	Mend  string // the settings to lower
}

// Needs sums up what is needed of one resource, and tells the largest part of it.
func Needs(all []Need, of Resource) (sum float64, most Need) {
	for _, n := range all {
		if n.Of == of {
			sum += n.Bytes
			if n.Bytes > most.Bytes {
				most = n
			}
		}
	}
	return sum, most
}

// MapBytesPerKey is what a key costs in a member's map beside its own bytes, with a
// snapshot being written, as measured.
const MapBytesPerKey = 500
