// Clients' connections by brpc: a protocol of ours on its sockets. brpc has a RedisService, which
// answers a connection's commands one after the other, and all that came in one piece at once:
// writes of a connection could not be under way at the same time. It also ends a connection for
// an unknown command behind others, and reads beyond its array for "*0".
#include <brpc/protocol.h>
#include <brpc/server.h>
#include <brpc/socket.h>

#include <cerrno>
#include <cstring>

#include "braft_member.h"

namespace raftlab {

namespace {

constexpr char kProtocol[] = "raftlab";
constexpr int kProtocolType = 120;  // of those that brpc has no protocol for

struct Server : brpc::Server {
	explicit Server(raftlab::Service* s) : service(s) {}
	raftlab::Service* const service;
};

// What a socket keeps of its session.
class Connection : public brpc::Destroyable {
public:
	Connection(Service* service, brpc::SocketId socket)
	    : session_(service->Open([socket](std::string answers, bool close) { Write(socket, answers, close); })) {}

	void Destroy() override { delete this; }

	Session* session() const { return session_.get(); }

private:
	static void Write(brpc::SocketId id, const std::string& answers, bool close) {
		brpc::SocketUniquePtr socket;
		if (brpc::Socket::Address(id, &socket) != 0) return;  // it is gone
		if (answers.empty()) {
			End(socket.get());
			return;
		}
		butil::IOBuf bytes;
		bytes.append(answers);
		brpc::Socket::WriteOptions options;
		if (close && bthread_id_create(&options.id_wait, reinterpret_cast<void*>(id), EndBehind) == 0) options.notify_on_success = true;
		if (socket->Write(&bytes, &options) != 0) End(socket.get());  // of a client that does not read, too
	}

	// EndBehind is called once the answers are written, or cannot be.
	static int EndBehind(bthread_id_t written, void* id, int) {
		brpc::SocketUniquePtr socket;
		if (brpc::Socket::Address(reinterpret_cast<brpc::SocketId>(id), &socket) == 0) End(socket.get());
		return bthread_id_unlock_and_destroy(written);
	}

	static void End(brpc::Socket* socket) { socket->SetFailed(ECONNRESET, "the session has ended"); }

	const std::shared_ptr<Session> session_;
};

brpc::ParseResult Parse(butil::IOBuf* source, brpc::Socket* socket, bool, const void* server) {
	auto* connection = static_cast<Connection*>(socket->parsing_context());
	if (connection == nullptr) {
		if (source->empty()) return brpc::MakeParseError(brpc::PARSE_ERROR_NOT_ENOUGH_DATA);
		Service* const service = static_cast<const Server*>(static_cast<const brpc::Server*>(server))->service;
		connection = new Connection(service, socket->id());
		socket->reset_parsing_context(connection);
	}
	butil::IOBuf bytes;
	bytes.swap(*source);
	for (size_t i = 0; i < bytes.backing_block_num(); i++) {
		const butil::StringPiece block = bytes.backing_block(i);
		connection->session()->Receive({block.data(), block.size()});
	}
	return brpc::MakeParseError(brpc::PARSE_ERROR_NOT_ENOUGH_DATA);  // there are no messages beside
}

void NoMessage(brpc::InputMessageBase*) {}

}  // namespace

void StartServer(const std::string& address, Service* service) {
	brpc::Protocol protocol{};
	protocol.parse = Parse;
	protocol.process_request = NoMessage;
	protocol.supported_connection_type = brpc::CONNECTION_TYPE_ALL;
	protocol.name = kProtocol;
	auto* const server = new Server(service);  // until the process ends
	brpc::ServerOptions options;
	options.has_builtin_services = false;
	options.enabled_protocols = kProtocol;
	if (brpc::RegisterProtocol(static_cast<brpc::ProtocolType>(kProtocolType), protocol) != 0) throw std::runtime_error("brpc does not take the protocol of clients");
	if (server->Start(address.c_str(), &options) != 0) throw std::runtime_error("listen for clients at " + address + ": " + strerror(errno));
}

}  // namespace raftlab
