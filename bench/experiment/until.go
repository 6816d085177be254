package experiment

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// MinRoundsUntil is how many rounds each cell takes part in at least where Until may leave
// it out: fewer single out no difference.
const MinRoundsUntil = 6

// Until is when a cell has been measured closely enough: when the interval of a quantity is
// no wider, to each side, than so many percent of it.
type Until struct {
	Quantity string // the end of its key, such as "p50"
	Percent  float64
}

// ParseUntil reads "p50 within 3%". Whether there is such a quantity, the kind of
// measurement knows.
func ParseUntil(text string) (Until, error) {
	m := regexp.MustCompile(`^\s*([a-z][a-z0-9_.]*)\s+within\s+([0-9]+(?:\.[0-9]+)?)\s*%\s*$`).FindStringSubmatch(text)
	if m == nil {
		return Until{}, errors.New(`want a quantity and a bound, such as "p50 within 3%"`)
	}
	percent, err := strconv.ParseFloat(m[2], 64)
	if err != nil || percent <= 0 || percent > 50 {
		return Until{}, fmt.Errorf("%s%%: want a bound above 0%% and up to 50%%", m[2])
	}
	return Until{Quantity: m[1], Percent: percent}, nil
}

// checkUntil sees that there is room for the rounds that until may save.
func (d *draft) checkUntil(e *Experiment) {
	if e.Until == "" {
		return
	}
	if _, err := ParseUntil(e.Until); err != nil {
		d.complain("until", "until = %q: %v", e.Until, err)
	} else if e.Trials < MinRoundsUntil+1 {
		d.complain("until", "until = %q, and trials = %d: each cell is measured in %d rounds at least, and trials is the most: raise trials to 20, say, or remove until",
			e.Until, e.Trials, MinRoundsUntil)
	}
}
