// A member that is braft's, and the connections that are brpc's. All else knows member.h and
// session.h only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "member.h"
#include "session.h"
#include "settings.h"

namespace raftlab {

Build Libraries();

// Configure sets the libraries' flags, which hold for the whole process: once, before Start.
// It throws std::runtime_error.
void Configure(const Settings& settings);

// StartMember starts the member on what is in the folder, or as a new one. Fatal errors of it
// later end the process with 1. It throws std::runtime_error. Applied runs behind each batch.
std::unique_ptr<Member> StartMember(const Flags& flags, const Settings& settings, Map* map, std::function<void()> applied);

// StartServer serves the protocol of clients until the process ends. It throws
// std::runtime_error.
void StartServer(const std::string& address, Service* service);

}  // namespace raftlab
