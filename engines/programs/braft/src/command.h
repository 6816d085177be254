// Commands of the map, as log entries carry them: the encoding of kv/command.go, byte for
// byte. Nothing here knows what a command does.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace raftlab {

constexpr size_t kMaxKeyBytes = 64 << 10;
constexpr size_t kMaxValueBytes = 64 << 20;
constexpr size_t kMaxBatchOps = 1 << 16;
constexpr size_t kMaxNodeBytes = 1 << 10;

enum class Op : uint8_t { kSet = 1, kDelete = 2, kBatch = 3, kIf = 4, kNode = 5 };
enum class If : uint8_t { kAlways = 0, kIndex = 1, kPresent = 2, kAbsent = 3 };

// One operation of a decoded command; key and value are the command's own bytes.
struct Change {
	Op op;
	std::string_view key;    // of a node: its id
	std::string_view value;  // of a node: its address
	If condition = If::kAlways;
	uint64_t index = 0;  // of kIndex
};

// What is no command, or no snapshot.
struct Malformed : std::runtime_error {
	using std::runtime_error::runtime_error;
};

void AppendNumber(std::string* to, uint64_t n);             // uvarint
void AppendSized(std::string* to, std::string_view bytes);  // its length, and the bytes

// Takes numbers and sized bytes off the front of what is left. It throws Malformed.
class Decoder {
public:
	explicit Decoder(std::string_view from) : rest_(from) {}
	uint8_t Byte();
	uint64_t Number();  // in its shortest form or not
	uint64_t ShortNumber(uint64_t limit);
	std::string_view Bytes(size_t n);
	std::string_view Sized(size_t limit) { return Bytes(ShortNumber(limit)); }
	size_t left() const { return rest_.size(); }

private:
	std::string_view rest_;
};

// Encoders trust their caller to keep to the limits.
std::string EncodeSet(std::string_view key, std::string_view value, If condition = If::kAlways);
std::string EncodeBatch(const std::vector<Change>& changes);  // of sets and deletes; one change is none

// Decode returns the operations of a command, or throws Malformed.
std::vector<Change> Decode(std::string_view command);

}  // namespace raftlab
