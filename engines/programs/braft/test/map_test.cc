#include "map.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "check.h"

namespace raftlab {

namespace {

using nlohmann::json;

std::string Bytes(const std::string& hex) {
	std::string bytes;
	for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
	return bytes;
}

std::string Hex(std::string_view bytes) {
	std::string hex;
	for (const unsigned char b : bytes) {
		hex.push_back("0123456789abcdef"[b >> 4]);
		hex.push_back("0123456789abcdef"[b & 15]);
	}
	return hex;
}

void Check(const Map& map, const json& sequence, const std::string& name) {
	Equal(map.keys(), sequence["keys"].get<uint64_t>(), name + ": keys");
	Equal(map.commands(), sequence["commands"].get<uint64_t>(), name + ": commands");
	Equal(map.Sum().sha256, sequence["digest"].get<std::string>(), name + ": digest");
	Equal(Hex(map.Snapshot()), sequence["snapshot"].get<std::string>(), name + ": snapshot");
	map.Look([&](const Map::Values& values) {
		auto at = values.begin();
		for (const json& entry : sequence["entries"]) {
			if (at == values.end()) return Equal(0, 1, name + ": entries are missing");
			Equal(Hex(at->first), entry["key"].get<std::string>(), name + ": key");
			Equal(Hex(at->second.bytes), entry["value"].get<std::string>(), name + ": value");
			Equal(at->second.index, entry["index"].get<uint64_t>(), name + ": index");
			++at;
		}
	});
}

void Run(const json& sequence) {
	const std::string name = sequence["name"];
	Map map;
	for (const json& step : sequence["steps"]) {
		const uint64_t index = step["index"];
		const std::string at = name + " at " + std::to_string(index);
		const Result r = map.Apply(index, Bytes(step["command"]));
		Equal(r.changed, step["changed"].get<int>(), at + ": changed");
		Equal(json(r.missing).dump(), step["missing"].dump(), at + ": missing");
		Equal(std::string(r.refused ? "refused" : r.condition_failed ? "condition" : ""), step["error"].get<std::string>(), at + ": error");
		if (r.condition_failed) Equal(r.last_change, step["error_index"].get<uint64_t>(), at + ": error_index");
	}
	Check(map, sequence, name);
	Map restored;
	restored.Apply(1, EncodeSet("what was there", "before"));
	restored.Restore(Bytes(sequence["snapshot"]));
	Check(restored, sequence, name + ", restored");
}

void Refuse(const std::string& snapshot, const std::string& name) {
	Map map;
	map.Apply(1, EncodeSet("k", "v"));
	const std::string before = map.Snapshot();
	try {
		map.Restore(snapshot);
		Equal(1, 0, name + ": was restored");
	} catch (const Malformed&) {
	}
	Equal(Hex(map.Snapshot()), Hex(before), name + ": the map");
}

}  // namespace

void TestMap(const std::string& file) {
	std::ifstream in(file);
	const json vectors = json::parse(in);
	for (const json& sequence : vectors["sequences"]) Run(sequence);
	for (const json& refused : vectors["refused_snapshots"]) {
		const json bytes = refused.is_object() ? refused["snapshot"] : refused;
		Refuse(Bytes(bytes), "refused snapshot " + bytes.dump());
	}
	Map map;
	map.Apply(1, EncodeSet("k", "v"));
	const std::string snapshot = map.Snapshot();
	for (size_t i = 0; i < snapshot.size(); i++) {
		std::string damaged = snapshot;
		damaged[i] ^= 1;
		Refuse(damaged, "damaged at " + std::to_string(i));
		Refuse(snapshot.substr(0, i), "cut off at " + std::to_string(i));
	}
	Equal(Hex(EncodeSet("a", "1")), "010101610131", HERE);
	Equal(Hex(EncodeSet("a", "1", If::kAbsent)), "01040301016101" "31", HERE);
	Equal(Hex(EncodeBatch({{Op::kDelete, "b", {}}})), "01020162", HERE);
}

}  // namespace raftlab
