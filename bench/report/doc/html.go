package doc

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
)

//go:embed page.html.tmpl
var pageSource string

//go:embed page.css
var styleSource string

// HTML makes one page that needs nothing from outside.
func HTML(d Document) ([]byte, error) {
	d = clean(d)
	var whole []string // a browser ends a line within "op/s" unless it is told not to
	for _, u := range d.Locale.Units {
		whole = append(whole, hardSpace+u, hardSpace+strings.ReplaceAll(u, "/", "/\u2060"))
	}
	unbroken := strings.NewReplacer(whole...)
	t, err := template.New("page").Funcs(template.FuncMap{
		"tight":    func(text string) string { return unbroken.Replace(d.Locale.Tight(text)) },
		"table":    func(t Table) string { return d.Locale.caption(d.Locale.Table, t.Number, t.Caption) },
		"figure":   func(f Figure) string { return d.Locale.caption(d.Locale.Figure, f.Number, f.Title) },
		"value":    func(c Cell) string { number, _ := d.Locale.Value(*c.Value, Ends); return number },
		"interval": func(c Cell) string { _, interval := d.Locale.Value(*c.Value, Ends); return interval },
		"spark":    sparkSVG,
		"shown":    Table.shown,
		"panels":   panelsHTML,
		"type":     func(b Block) string { return fmt.Sprintf("%T", b)[len("doc."):] },
	}).Parse(pageSource)
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Lang": d.Locale.Code, "Title": d.Title, "Sections": sections(d.Blocks),
		"Style": template.CSS(styleSource),                   //nolint:gosec // our own file
		"Stamp": template.HTML("<!-- " + d.Stamp + " -->\n"), //nolint:gosec // our own text
	})
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	return out.Bytes(), nil
}

// section is a heading with what follows it; the first may have none.
type section struct {
	Heading Heading
	Blocks  []Block
}

func sections(blocks []Block) []section {
	var out []section
	for _, b := range blocks {
		if h, ok := b.(Heading); ok {
			out = append(out, section{Heading: h})
			continue
		}
		if out == nil {
			out = append(out, section{})
		}
		last := &out[len(out)-1]
		last.Blocks = append(last.Blocks, b)
	}
	return out
}

func panelsHTML(f Figure) []template.HTML {
	var out []template.HTML
	for _, p := range panelsSVG(f) {
		out = append(out, template.HTML(p)) //nolint:gosec // our own drawing, its texts escaped
	}
	return out
}

// sparkSVG draws a series as a small line from zero.
func sparkSVG(series []int64) template.HTML {
	const width, height = 120, 24
	top := max(1, slices.Max(series))
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
