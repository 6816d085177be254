#include "map.h"

#include <openssl/evp.h>

#include <array>

namespace raftlab {

namespace {

constexpr std::string_view kMagic = "raftlab-kv";
constexpr uint64_t kSnapshotVersion = 1;

// CRC-32C (Castagnoli), reflected: RFC 3720, section 12.1.
std::array<uint32_t, 256> Castagnoli() {
	std::array<uint32_t, 256> table{};
	for (uint32_t i = 0; i < table.size(); i++) {
		uint32_t c = i;
		for (int bit = 0; bit < 8; bit++) c = (c & 1) != 0 ? (c >> 1) ^ 0x82f63b78 : c >> 1;
		table[i] = c;
	}
	return table;
}

uint32_t Crc32c(std::string_view bytes) {
	static const std::array<uint32_t, 256> table = Castagnoli();
	uint32_t c = ~0u;
	for (const char b : bytes) c = table[(c ^ static_cast<uint8_t>(b)) & 0xff] ^ (c >> 8);
	return ~c;
}

std::string Sha256(std::string_view bytes) {
	std::array<unsigned char, 32> sum{};
	if (EVP_Digest(bytes.data(), bytes.size(), sum.data(), nullptr, EVP_sha256(), nullptr) != 1) {
		throw std::runtime_error("SHA-256 is not to be had of OpenSSL");
	}
	std::string hex;
	for (const unsigned char b : sum) {
		hex.push_back("0123456789abcdef"[b >> 4]);
		hex.push_back("0123456789abcdef"[b & 15]);
	}
	return hex;
}

}  // namespace

Result Map::Apply(uint64_t index, std::string_view command) {
	Lock lock(mutex_);
	state_.index = index;
	state_.commands++;
	Result result;
	try {
		int place = 0;
		for (const Change& c : Decode(command)) Do(c, place++, &result);
	} catch (const Malformed&) {
		state_.refused++;
		state_.last_refused = index;
		result.refused = true;
	}
	return result;
}

void Map::Do(const Change& c, int place, Result* result) {
	if (c.op == Op::kNode) {
		if (c.value.empty()) {
			state_.nodes.erase(std::string(c.key));
		} else {
			state_.nodes[std::string(c.key)] = c.value;
		}
		return;
	}
	const auto at = state_.values.find(c.key);
	const bool present = at != state_.values.end();
	if ((c.condition == If::kIndex && (!present || at->second.index != c.index)) || (c.condition == If::kPresent && !present) ||
	    (c.condition == If::kAbsent && present)) {
		result->condition_failed = true;
		result->last_change = present ? at->second.index : 0;
		return;
	}
	if (c.op == Op::kSet) {
		if (present) {
			at->second = {std::string(c.value), state_.index};
		} else {
			state_.values.emplace(c.key, Value{std::string(c.value), state_.index});
		}
	} else if (present) {
		state_.values.erase(at);
	} else {
		result->missing.push_back(place);
		return;
	}
	result->changed++;
}

void Map::Look(const std::function<void(const Values&)>& look) const {
	Lock lock(mutex_);
	look(state_.values);
}

uint64_t Map::keys() const {
	Lock lock(mutex_);
	return state_.values.size();
}

uint64_t Map::commands() const {
	Lock lock(mutex_);
	return state_.commands;
}

std::string Map::Encode(std::string to) const {
	for (const uint64_t n : {state_.index, state_.commands, state_.refused, state_.last_refused}) AppendNumber(&to, n);
	AppendNumber(&to, state_.nodes.size());
	for (const auto& [id, address] : state_.nodes) {
		AppendSized(&to, id);
		AppendSized(&to, address);
	}
	AppendNumber(&to, state_.values.size());
	for (const auto& [key, value] : state_.values) {
		AppendNumber(&to, value.index);
		AppendSized(&to, key);
		AppendSized(&to, value.bytes);
	}
	return to;
}

std::string Map::Snapshot() const {
	std::string to(kMagic);
	AppendNumber(&to, kSnapshotVersion);
	{
		Lock lock(mutex_);
		to = Encode(std::move(to));
	}
	const uint32_t sum = Crc32c(to);
	for (int shift = 0; shift < 32; shift += 8) to.push_back(static_cast<char>(sum >> shift));
	return to;
}

Digest Map::Sum() const {
	Digest d{};
	std::string encoded;
	{
		Lock lock(mutex_);
		d.keys = state_.values.size();
		d.commands = state_.commands;
		encoded = Encode({});
	}
	d.sha256 = Sha256(encoded);
	return d;
}

Map::State Map::DecodeState(Decoder* d) {
	State s;
	s.index = d->Number();
	s.commands = d->Number();
	s.refused = d->Number();
	s.last_refused = d->Number();
	for (uint64_t n = d->Number(); n > 0; n--) {
		const std::string id(d->Sized(kMaxNodeBytes)), address(d->Sized(kMaxNodeBytes));
		if (address.empty() || id.empty() || (!s.nodes.empty() && id <= s.nodes.rbegin()->first)) throw Malformed("member " + id + " out of order");
		s.nodes.emplace_hint(s.nodes.end(), id, address);
	}
	for (uint64_t n = d->Number(); n > 0; n--) {
		const uint64_t index = d->Number();
		const std::string key(d->Sized(kMaxKeyBytes));
		const std::string_view value = d->Sized(kMaxValueBytes);
		if (key.empty() || (!s.values.empty() && key <= s.values.rbegin()->first)) throw Malformed("a key out of order");
		if (index > s.index) throw Malformed("a key that was changed after the snapshot");
		s.values.emplace_hint(s.values.end(), key, Value{std::string(value), index});
	}
	return s;
}

void Map::Restore(std::string_view snapshot) {
	if (snapshot.size() < kMagic.size() + 4 || snapshot.substr(0, kMagic.size()) != kMagic) {
		throw Malformed("a snapshot that does not begin with raftlab-kv");
	}
	const std::string_view body = snapshot.substr(0, snapshot.size() - 4);
	uint32_t sum = 0;
	for (int i = 3; i >= 0; i--) sum = sum << 8 | static_cast<uint8_t>(snapshot[body.size() + static_cast<size_t>(i)]);
	if (sum != Crc32c(body)) throw Malformed("a snapshot with a wrong checksum");
	Decoder d(body.substr(kMagic.size()));
	if (d.Number() != kSnapshotVersion) throw Malformed("a snapshot of another version");
	State restored = DecodeState(&d);
	if (d.left() > 0) throw Malformed("a snapshot with bytes after its end");
	Lock lock(mutex_);
	state_ = std::move(restored);
}

}  // namespace raftlab
