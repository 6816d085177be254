// The least that a test needs: claims that are counted, and told where they do not hold.
#pragma once

#include <iostream>
#include <sstream>
#include <string>

namespace raftlab {

inline int& Failures() {
	static int failures = 0;
	return failures;
}

template <typename A, typename B>
void Equal(const A& got, const B& want, const std::string& where) {
	if (got == want) return;
	Failures()++;
	std::ostringstream told;
	told << where << ": got " << got << "\n    want " << want << "\n";
	std::cerr << told.str();
}

}  // namespace raftlab

#define RAFTLAB_STRING(x) #x
#define RAFTLAB_LINE(x) RAFTLAB_STRING(x)
#define HERE std::string(__FILE__ ":" RAFTLAB_LINE(__LINE__))
