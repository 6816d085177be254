package doc

import (
	"bytes"
	"encoding/csv"
)

// CSV writes the texts of a table under the heads of its columns.
func CSV(t Table) ([]byte, error) {
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	record := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		record[i] = c.Head
	}
	if err := w.Write(record); err != nil {
		return nil, err
	}
	for _, r := range t.Rows {
		for i, c := range r.Cells {
			record[i] = c.Text
		}
		if err := w.Write(record); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}
