// SPDX-License-Identifier: GPL-2.0
// Which element of a set or map a packet matched. Pure.
//
// A rule looks up what it has loaded into registers. Where all of that are headers that an event has (not
// interfaces, whose names may have changed since), and the set's elements are known as they were, the element
// follows. Everything else is not told.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pathtrace/event.h"

namespace pathtrace::nft {

// What an event knows of a packet.
enum class Field { saddr, daddr, sport, dport, protocol };

// One part of a lookup's key, as a register holds it: its bytes, and zeros up to a multiple of four.
struct KeyPart {
  Field field = Field::saddr;
  std::uint8_t length = 0;  // bytes
  std::uint8_t family = 0;  // AF_INET, AF_INET6 where it is an address
};

struct Lookup {
  std::string set;  // by its name; an anonymous set's is "__set0"
  std::vector<KeyPart>
      key;  // what is known from its first register on; the set's key may be shorter, or longer
  bool gives_verdict = false;  // a verdict map's: what follows it in the rule need not have been reached
};

struct Element {
  std::string key;      // bytes in network order, as netlink has them
  std::string key_end;  // of a concatenation of ranges: the last one it holds; "" = like key
  bool ends = false;    // of intervals: this is the first key behind one, no element
  bool catch_all = false;
};

struct Set {
  std::string name;
  bool anonymous = false;
  bool interval = false;
  std::size_t key_length = 0;  // bytes
  bool changes = false;        // packets or timeouts add and remove elements
  bool whole = false;          // all of its elements were read
  std::vector<Element> elements;
};

// The element of `set` that a packet matched which is known to have matched one: "10.0.0.0/8", "80-500",
// "10.0.0.1 . 80", "*". nullopt: rule and packet don't determine it.
std::optional<std::string> find_element(const Lookup& lookup, const Set& set, const pt_event& packet);

}  // namespace pathtrace::nft
