package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"strings"
)

//go:embed templates/report.html.tmpl
var htmlSource string

//go:embed templates/report.css
var cssSource string

// renderHTML makes one file that needs nothing from outside.
func renderHTML(p page) ([]byte, error) {
	t, err := template.New("report.html").Funcs(template.FuncMap{
		"css":      func() template.CSS { return template.CSS(cssSource) }, //nolint:gosec // our own file
		"spark":    sparkSVG,
		"tight":    p.L.tight,
		"value":    func(text string) string { v, _ := cutInterval(text); return v },
		"interval": func(text string) string { _, i := cutInterval(text); return i },
		"inc":      func(i int) int { return i + 1 },
	}).Parse(htmlSource)
	if err != nil {
		return nil, fmt.Errorf("report.html: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, p); err != nil {
		return nil, fmt.Errorf("report.html: %w", err)
	}
	return out.Bytes(), nil
}

// sparkSVG draws a series as a small line from zero.
func sparkSVG(series []int64) template.HTML {
	const width, height = 120, 24
	top := int64(1)
	for _, n := range series {
		top = max(top, n)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg class="spark" viewBox="0 0 %d %d" aria-hidden="true"><path d="M0 %d H%d"/><polyline points="`, width, height, height-1, width)
	for i, n := range series {
		x := float64(width) * (float64(i) + 0.5) / float64(len(series))
		y := float64(height-2) - float64(height-4)*float64(n)/float64(top)
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String()) //nolint:gosec // numbers only
}

// cutInterval parts a figure from its interval, which goes below it to keep the
// table narrow: "4.62 [4.41, 4.90] †" is "4.62 †" and "[4.41, 4.90]".
func cutInterval(text string) (value, interval string) {
	before, rest, there := strings.Cut(text, " [")
	inside, after, closed := strings.Cut(rest, "]")
	if !there || !closed {
		return text, ""
	}
	return before + after, "[" + inside + "]"
}
