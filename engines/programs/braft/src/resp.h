// The framing of the Redis protocol, version 2, as docs/resp.md has it.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace raftlab {

using Words = std::vector<std::string_view>;

// What came is no command, as the text tells the client; where the next one would begin is not
// known.
struct BadFrame : std::runtime_error {
	using std::runtime_error::runtime_error;
};

// CommandReader takes commands from what comes over a connection.
class CommandReader {
public:
	void Feed(std::string_view bytes);

	// Next returns whether a whole command has come. Its words are valid until Feed; there is at
	// least one. It throws BadFrame.
	bool Next(Words* words);

private:
	bool Array(Words* words);
	bool Inline(Words* words);
	bool Line(size_t* at, std::string_view* line, size_t limit) const;
	bool Length(size_t* at, char kind, size_t limit, long* n) const;

	std::string buffer_;
	size_t begin_ = 0;  // of the command that is next
};

// Answers.
std::string Simple(std::string_view text);
std::string Error(std::string_view text);  // what is no text becomes blanks
std::string Integer(long long n);
std::string Bulk(std::string_view bytes);
std::string Null();
std::string ArrayOf(const std::vector<std::string>& items);
std::string Fields(const std::vector<std::pair<std::string, std::string>>& fields);

}  // namespace raftlab
