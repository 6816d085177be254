// Tests of all but what touches braft and brpc. The argument is the folder kv of the repository.
#include <fstream>

#include "check.h"

namespace raftlab {
void TestMap(const std::string& vectors);
void TestSession();
void TestSettings();
}  // namespace raftlab

int main(int count, char** words) {
	if (count != 2) {
		std::cerr << "usage: braft-test KV\n";
		return 2;
	}
	raftlab::TestMap(std::string(words[1]) + "/testdata/vectors.json");
	raftlab::TestSession();
	raftlab::TestSettings();
	std::cerr << (raftlab::Failures() == 0 ? "all tests have passed\n" : "tests have failed\n");
	return raftlab::Failures() == 0 ? 0 : 1;
}
