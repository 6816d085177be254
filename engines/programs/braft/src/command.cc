#include "command.h"

namespace raftlab {

namespace {

constexpr uint8_t kVersion = 1;

void AppendOp(std::string* to, Op op, std::string_view key, std::string_view value) {
	to->push_back(static_cast<char>(op));
	AppendSized(to, key);
	if (op == Op::kSet) AppendSized(to, value);
}

Change TakeOp(Decoder* d, Op op) {
	Change c{op, {}, {}};
	if (op != Op::kSet && op != Op::kDelete) throw Malformed("operation " + std::to_string(static_cast<int>(op)));
	c.key = d->Sized(kMaxKeyBytes);
	if (op == Op::kSet) c.value = d->Sized(kMaxValueBytes);
	if (c.key.empty()) throw Malformed("an empty key");
	return c;
}

Change TakeConditional(Decoder* d) {
	const If condition = static_cast<If>(d->Byte());
	uint64_t index = 0;
	if (condition == If::kIndex) {
		index = d->ShortNumber(UINT64_MAX);
	} else if (condition != If::kPresent && condition != If::kAbsent) {
		throw Malformed("condition " + std::to_string(static_cast<int>(condition)));
	}
	Change c = TakeOp(d, static_cast<Op>(d->Byte()));
	c.condition = condition;
	c.index = index;
	return c;
}

Change TakeNode(Decoder* d) {
	Change c{Op::kNode, {}, {}};
	c.key = d->Sized(kMaxNodeBytes);
	c.value = d->Sized(kMaxNodeBytes);
	if (c.key.empty()) throw Malformed("an empty key");
	return c;
}

}  // namespace

void AppendNumber(std::string* to, uint64_t n) {
	for (; n >= 0x80; n >>= 7) to->push_back(static_cast<char>(n | 0x80));
	to->push_back(static_cast<char>(n));
}

void AppendSized(std::string* to, std::string_view bytes) {
	AppendNumber(to, bytes.size());
	to->append(bytes);
}

uint8_t Decoder::Byte() {
	if (rest_.empty()) throw Malformed("cut off");
	const uint8_t b = static_cast<uint8_t>(rest_[0]);
	rest_.remove_prefix(1);
	return b;
}

uint64_t Decoder::Number() {
	uint64_t n = 0;
	for (int shift = 0;; shift += 7) {
		const uint8_t b = Byte();
		if (shift == 63 && b > 1) throw Malformed("bad number: more than 64 bits");
		n |= static_cast<uint64_t>(b & 0x7f) << shift;
		if (b < 0x80) return n;
	}
}

uint64_t Decoder::ShortNumber(uint64_t limit) {
	const std::string_view before = rest_;
	const uint64_t n = Number();
	const size_t size = before.size() - rest_.size();
	if (n > limit) throw Malformed(std::to_string(n) + ": at most " + std::to_string(limit) + " are allowed");
	if (size > 1 && before[size - 1] == 0) throw Malformed("length is not in its shortest form");
	return n;
}

std::string_view Decoder::Bytes(size_t n) {
	if (n > rest_.size()) throw Malformed("cut off");
	const std::string_view b = rest_.substr(0, n);
	rest_.remove_prefix(n);
	return b;
}

std::string EncodeSet(std::string_view key, std::string_view value, If condition) {
	std::string to(1, static_cast<char>(kVersion));
	if (condition != If::kAlways) {
		to.push_back(static_cast<char>(Op::kIf));
		to.push_back(static_cast<char>(condition));
	}
	AppendOp(&to, Op::kSet, key, value);
	return to;
}

std::string EncodeBatch(const std::vector<Change>& changes) {
	std::string to(1, static_cast<char>(kVersion));
	if (changes.size() != 1) {
		to.push_back(static_cast<char>(Op::kBatch));
		AppendNumber(&to, changes.size());
	}
	for (const Change& c : changes) AppendOp(&to, c.op, c.key, c.value);
	return to;
}

std::vector<Change> Decode(std::string_view command) {
	Decoder d(command);
	if (const int version = d.Byte(); version != kVersion) {
		throw Malformed("version " + std::to_string(version) + ", this program knows 1");
	}
	std::vector<Change> changes;
	const Op op = static_cast<Op>(d.Byte());
	if (op == Op::kBatch) {
		for (uint64_t n = d.ShortNumber(kMaxBatchOps); n > 0; n--) changes.push_back(TakeOp(&d, static_cast<Op>(d.Byte())));
	} else if (op == Op::kIf) {
		changes.push_back(TakeConditional(&d));
	} else if (op == Op::kNode) {
		changes.push_back(TakeNode(&d));
	} else {
		changes.push_back(TakeOp(&d, op));
	}
	if (d.left() > 0) throw Malformed(std::to_string(d.left()) + " bytes after its end");
	return changes;
}

}  // namespace raftlab
