package core

import "runtime/debug"

// ModuleVersion returns the version of a module as it is linked into this
// program, or "unknown" where the program carries no build information (as a
// test binary may not). It is what Describe methods report.
func ModuleVersion(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Path == module && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path != module {
			continue
		}
		if dep.Replace != nil {
			dep = dep.Replace
		}
		return dep.Version
	}
	return "unknown"
}
