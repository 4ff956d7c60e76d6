// SPDX-License-Identifier: GPL-2.0
#include "diagnosis/listeners.h"

#include <algorithm>

#include "diagnosis/wording.h"

namespace pathtrace {

namespace {

// Stopped before the routing decision or on its way elsewhere, the packet may have been for a socket
// of another namespace; a wildcard there is no evidence that it was.
bool may_be_for(const Listener& listener, const Packet& packet, const std::string& address) {
  if (!serves(listener, address)) return false;
  return listener.netns.inode == packet.netns.inode || listener.address == address;
}

bool was_for_this_namespace(const Packet& packet) {
  const auto decision = std::find_if(packet.steps.rbegin(), packet.steps.rend(), is_decision);
  return decision != packet.steps.rend() && decision->hook == Hook::input;
}

bool goes_elsewhere(const Packet& packet) {
  const auto decision = std::find_if(packet.steps.rbegin(), packet.steps.rend(), is_decision);
  if (decision == packet.steps.rend()) return false;
  const bool outbound = decision->hook == Hook::output || decision->hook == Hook::postrouting;
  return decision->hook == Hook::forward || (outbound && packet.oif != "lo");
}

const Listener* find(const std::vector<Listener>& listeners, const Packet& packet,
                     const std::string& address) {
  for (const Listener& listener : listeners) {
    const bool here = listener.netns.inode == packet.netns.inode;
    if (here && goes_elsewhere(packet)) continue;
    if (!here && was_for_this_namespace(packet)) continue;
    if (may_be_for(listener, packet, address)) return &listener;
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
    if (listener.netns.inode != fact.netns.inode || !serves(listener, address)) continue;
    candidate.cause.listener = listener;
    candidate.cause.listener->backlog = fact.what.backlog;
    candidate.cause.listener->max_backlog = fact.what.max_backlog;
    candidate.cause.summary += ". " + listens_text(listener);
    return;
  }
}

}  // namespace pathtrace
