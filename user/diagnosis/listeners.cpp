// SPDX-License-Identifier: GPL-2.0
#include "diagnosis/listeners.h"

#include <algorithm>

#include "diagnosis/wording.h"

namespace pathtrace {

namespace {

// Where the routing decision of the packet's namespace sends it, as far as it had got.
enum class Way { unknown, here, elsewhere };

Way way_of(const Packet& packet) {
  const auto decision = std::find_if(packet.steps.rbegin(), packet.steps.rend(), is_decision);
  if (decision == packet.steps.rend() || !decision->hook) return Way::unknown;
  switch (*decision->hook) {
    case Hook::input:
      return Way::here;
    case Hook::forward:
      return Way::elsewhere;
    case Hook::output:
    case Hook::postrouting:
      return packet.oif == "lo" ? Way::here : Way::elsewhere;
    default:
      return Way::unknown;
  }
}

// A wildcard takes whatever is for its namespace: no evidence that the packet was.
const Listener* find(const std::vector<Listener>& listeners, const Packet& packet,
                     const std::string& address) {
  const Way way = way_of(packet);
  for (const Listener& listener : listeners) {
    const bool here = listener.netns.inode == packet.netns.inode;
    if (here ? way == Way::elsewhere : way == Way::here) continue;
    const bool known = listener.address == address || (here && way == Way::here);
    if (known && serves(listener, address) == true) return &listener;
  }
  return nullptr;
}

}  // namespace

void add_unreached_listener(Candidate& candidate, const Story& story, const Packet& packet) {
  // a listener that did see it is no news
  if (!story.trace().listeners.empty() || !story.listeners()) return;
  const std::string& address = story.trace().connection.server.address;
  const Listener* listener = find(*story.listeners(), packet, address);
  if (listener == nullptr) return;
  candidate.cause.listener = *listener;
  candidate.cause.summary +=
      ". " + listens_text(*listener) +
      (listener->netns.inode == packet.netns.inode ? "" : story.in_namespace(listener->netns)) +
      " and never saw the " + packet_name(packet);
}

void add_full_listener(Candidate& candidate, const Story& story, const ListenerFact& fact) {
  if (!story.listeners()) return;
  const std::string& address = story.trace().connection.server.address;
  for (const Listener& listener : *story.listeners()) {
    if (listener.netns.inode != fact.netns.inode || serves(listener, address) == false) continue;
    candidate.cause.listener = listener;
    candidate.cause.listener->backlog = fact.what.backlog;
    candidate.cause.listener->max_backlog = fact.what.max_backlog;
    candidate.cause.summary += ". " + listens_text(listener);
    return;
  }
}

}  // namespace pathtrace
