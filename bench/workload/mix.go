package workload

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// Mix says which share of the operations is of which kind; they add up to 1. The zero
// value is writes only. The tags are those of the table [load.mix] of an experiment.
type Mix struct {
	Read            float64 `json:"read,omitempty" max:"1" unit:"share" doc:"reads of one key"`
	Write           float64 `json:"write,omitempty" max:"1" unit:"share" doc:"writes of one key; YCSB calls them updates"`
	Insert          float64 `json:"insert,omitempty" max:"1" unit:"share" doc:"writes of keys that were not there; only key_distribution = \"latest\" reads them again"`
	Scan            float64 `json:"scan,omitempty" max:"1" unit:"share" doc:"reads of the scan_length keys after one, with their values, in order"`
	ReadModifyWrite float64 `json:"read_modify_write,omitempty" max:"1" unit:"share" doc:"a read of a key, then a write of it, whatever has come between"`
	CompareAndSet   float64 `json:"compare_and_set,omitempty" max:"1" unit:"share" doc:"a read of a key, then a write on the condition that it has not changed since; both again until it holds"`
	Batch           float64 `json:"batch,omitempty" max:"1" unit:"share" doc:"writes of batch_size neighbouring keys in one entry of the log, all or none"`
}

// kinds are the shares by kind, in the order of the fields.
func (m *Mix) kinds() []choice {
	return []choice{{Read, m.Read}, {Write, m.Write}, {Insert, m.Insert}, {Scan, m.Scan},
		{ReadModifyWrite, m.ReadModifyWrite}, {CompareAndSet, m.CompareAndSet}, {WriteBatch, m.Batch}}
}

// Kinds are the kinds of operations that there are, in the order of the fields.
func (m Mix) Kinds() []Kind {
	var out []Kind
	for _, c := range m.choices() {
		out = append(out, c.kind)
	}
	return out
}

// Sum adds up the shares.
func (m Mix) Sum() float64 {
	sum := 0.0
	for _, c := range m.kinds() {
		sum += c.upTo
	}
	return sum
}

// Reads is the share of operations that change nothing.
func (m Mix) Reads() float64 { return m.Read + m.Scan }

// Looks is the share of operations that read anything, also those that then write.
func (m Mix) Looks() float64 { return m.Reads() + m.ReadModifyWrite + m.CompareAndSet }

// Plain reports whether there are no operations but reads and writes of one key.
func (m Mix) Plain() bool { return m.Scan+m.ReadModifyWrite+m.CompareAndSet+m.Batch == 0 }

// shareError is how far off 1 a sum of shares may be: 0.1 and 0.2 do not add up to 0.3.
const shareError = 1e-6

// Check returns an error unless the shares add up to 1, or all are 0.
func (m Mix) Check() error {
	for _, c := range m.kinds() {
		if !(c.upTo >= 0 && c.upTo <= 1) {
			return errors.New("each share must be between 0 and 1")
		}
	}
	if sum := m.Sum(); sum != 0 && math.Abs(sum-1) > shareError {
		return fmt.Errorf("the shares add up to %g, not to 1", math.Round(1e6*sum)/1e6)
	}
	return nil
}

// choices adds the shares up.
func (m Mix) choices() []choice {
	var out []choice
	sum := 0.0
	for _, c := range m.kinds() {
		if c.upTo > 0 {
			sum += c.upTo
			out = append(out, choice{c.kind, sum})
		}
	}
	if out == nil {
		return []choice{{Write, 1}}
	}
	out[len(out)-1].upTo = 1 // whatever rounding has left
	return out
}

// ErrCondition is what a Target answers a CompareAndSet whose condition did not hold.
var ErrCondition = errors.New("the condition did not hold")

// compound is a target that carries out operations of several steps by those that another has.
type compound struct{ Target }

// withSteps returns what clients drive: target, or one that takes the operations of
// several steps apart, where the mix has such.
func (m Mix) withSteps(target Target) Target {
	if m.ReadModifyWrite+m.CompareAndSet == 0 {
		return target
	}
	return compound{target}
}

// Part implements Parted.
func (c compound) Part(client int) Target { return compound{PartOf(c.Target, client)} }

// Do implements Target.
func (c compound) Do(ctx context.Context, op *Op) error {
	switch op.Kind {
	case ReadModifyWrite, CompareAndSet:
	default:
		return c.Target.Do(ctx, op)
	}
	for {
		read := Op{Kind: Read, Key: op.Key}
		if err := c.Target.Do(ctx, &read); err != nil {
			return err
		}
		write := Op{Kind: Write, Key: op.Key, Value: op.Value}
		if op.Kind == CompareAndSet {
			write.Kind, write.IfIndex, write.Expect = CompareAndSet, read.Index, read.Value
		}
		err := c.Target.Do(ctx, &write)
		if op.Index = write.Index; !errors.Is(err, ErrCondition) || ctx.Err() != nil {
			return err
		}
	}
}
