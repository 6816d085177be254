// Package conf is the one way from a file, a flag or --set to the fields of a
// struct. The tags of the struct say all there is to say of a setting:
//
//		type Load struct {
//			Clients int      `key:"clients" default:"16" min:"1" max:"100000" doc:"clients, each with one operation at a time"`
//			Arrival string   `key:"arrival" default:"constant" oneof:"constant poisson" doc:"when operations start"`
//			Warmup  Duration `key:"warmup" default:"1s" doc:"cut off before the window"`
//		}
//
//	  - key: the name in the file. Without it the field's JSON name is the key; a field
//	    that has neither, or the key "-", is no setting. The keys of a struct in a
//	    struct stand in a table of that name.
//	  - default: as text; without it the zero value.
//	  - min, max: inclusive, as text; see [Field.Set] for what holds without them.
//	  - oneof: the words that may be given, with spaces between.
//	  - unit, doc: for people, in help and reference. An empty doc hides the setting there.
//	  - zero: what 0 or "" stands for, for people.
//
// From them come [Schema.Settings], which finds the settings in a document, the
// checks of each value, the text form of a value and back, flags, completion, and
// the reference of a file in Markdown and for a terminal.
//
// A document ([Parse]) is TOML or YAML, with the line of everything in it. Whoever
// reads one adds every [Mistake] that it finds to [Mistakes], and they come out at
// once, in the order of their lines.
//
// The package knows no setting of its own, and reads no file itself.
package conf
