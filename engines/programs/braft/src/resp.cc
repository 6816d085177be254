#include "resp.h"

#include <algorithm>
#include <charconv>

namespace raftlab {

namespace {

constexpr size_t kMaxLine = 64 << 10;
constexpr size_t kMaxLengthLine = 32;
constexpr size_t kMaxWords = (1 << 17) + 2;
constexpr size_t kMaxWord = (16 << 20) + (64 << 10);
constexpr size_t kMaxCommand = 40 << 20;

}  // namespace

void CommandReader::Feed(std::string_view bytes) {
	buffer_.erase(0, begin_);
	begin_ = 0;
	buffer_.append(bytes);
}

bool CommandReader::Next(Words* words) {
	words->clear();
	while (begin_ < buffer_.size()) {
		if (!(buffer_[begin_] == '*' ? Array(words) : Inline(words))) {
			if (buffer_.size() - begin_ > kMaxCommand) throw BadFrame("TOOLARGE command");
			return false;
		}
		if (!words->empty()) return true;  // an empty line, or array, is no command
	}
	return false;
}

// Line returns whether a line has come, without its end, and moves at behind it.
bool CommandReader::Line(size_t* at, std::string_view* line, size_t limit) const {
	const size_t end = buffer_.find('\n', *at);
	if ((end == std::string::npos ? buffer_.size() : end) - *at > limit) throw BadFrame("ERR Protocol error: too long a line");
	if (end == std::string::npos) return false;
	*line = std::string_view(buffer_).substr(*at, end - *at);
	if (!line->empty() && line->back() == '\r') line->remove_suffix(1);
	*at = end + 1;
	return true;
}

bool CommandReader::Length(size_t* at, char kind, size_t limit, long* n) const {
	std::string_view line;
	if (!Line(at, &line, kMaxLengthLine)) return false;
	if (line.empty() || line[0] != kind) {
		throw BadFrame(std::string("ERR Protocol error: expected '") + kind + "', got '" + std::string(line.substr(0, 1)) + "'");
	}
	const char* last = line.data() + line.size();
	const auto [end, err] = std::from_chars(line.data() + 1, last, *n);
	if (err != std::errc() || end != last || (kind == '$' && *n < 0)) {
		throw BadFrame(kind == '*' ? "ERR Protocol error: invalid multibulk length" : "ERR Protocol error: invalid bulk length");
	}
	if (*n > static_cast<long>(limit)) throw BadFrame("TOOLARGE command: at most " + std::to_string(limit) + (kind == '*' ? " words" : " bytes in a word"));
	return true;
}

bool CommandReader::Array(Words* words) {
	size_t at = begin_;
	long count = 0;
	if (!Length(&at, '*', kMaxWords, &count)) return false;
	for (long i = 0; i < count; i++) {
		long n = 0;
		if (!Length(&at, '$', kMaxWord, &n)) return words->clear(), false;
		const size_t size = static_cast<size_t>(n);
		if (buffer_.size() - at < size + 2) return words->clear(), false;
		if (buffer_.compare(at + size, 2, "\r\n") != 0) throw BadFrame("ERR Protocol error: a string without its end");
		words->push_back(std::string_view(buffer_).substr(at, size));
		at += size + 2;
	}
	begin_ = at;
	return true;
}

bool CommandReader::Inline(Words* words) {
	std::string_view line;
	if (!Line(&begin_, &line, kMaxLine)) return false;
	while (!line.empty()) {
		const size_t end = std::min(line.find_first_of(" \t"), line.size());
		if (end > 0) words->push_back(line.substr(0, end));
		line.remove_prefix(std::min(end + 1, line.size()));
	}
	return true;
}

std::string Simple(std::string_view text) { return "+" + std::string(text) + "\r\n"; }

std::string Error(std::string_view text) {
	std::string line(text);
	std::replace_if(line.begin(), line.end(), [](unsigned char c) { return c < ' '; }, ' ');
	return "-" + line + "\r\n";
}

std::string Integer(long long n) { return ":" + std::to_string(n) + "\r\n"; }

std::string Bulk(std::string_view bytes) {
	std::string to = "$" + std::to_string(bytes.size()) + "\r\n";
	return to.append(bytes).append("\r\n");
}

std::string Null() { return "$-1\r\n"; }

std::string ArrayOf(const std::vector<std::string>& items) {
	std::string to = "*" + std::to_string(items.size()) + "\r\n";
	for (const std::string& item : items) to += item;
	return to;
}

std::string Fields(const std::vector<std::pair<std::string, std::string>>& fields) {
	std::string to = "*" + std::to_string(2 * fields.size()) + "\r\n";
	for (const auto& [name, value] : fields) to += Bulk(name) + Bulk(value);
	return to;
}

}  // namespace raftlab
