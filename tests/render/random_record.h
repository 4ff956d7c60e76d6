// SPDX-License-Identifier: GPL-2.0
// Records of every shape, from a seed: for the property tests of writer, reader and text view.
#pragma once

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "timeline/model.h"

namespace pathtrace::test {

class RandomRecord {
 public:
  explicit RandomRecord(unsigned seed) : random_(seed) {}

  Record any() {
    switch (below(5)) {
      case 0:
        return start();
      case 1:
        return packet();
      case 2:
        return connection();
      case 3:
        return LostRecord{number<std::uint64_t>(), number<std::int64_t>(), text()};
      default:
        return end();
    }
  }

  StartRecord start() {
    StartRecord out;
    out.version = text();
    out.kernel = text();
    out.arch = text();
    out.ts_ns = number<std::int64_t>();
    out.filter = text();
    out.backends = several<Backend>([&] { return one_of<Backend>(); });
    out.probes = several<ProbeStatus>([&] {
      return ProbeStatus{text(), one_of<ProbeState>(), maybe([&] { return text(); }),
                         maybe([&] { return text(); })};
    });
    return out;
  }

  EndRecord end() {
    return {number<std::int64_t>(),  number<std::uint64_t>(), number<std::uint64_t>(),
            number<std::uint64_t>(), number<std::uint64_t>(), text()};
  }

  Packet packet() {
    Packet out;
    out.id = number<std::uint64_t>();
    out.connection = number<std::uint64_t>();
    out.ts_ns = number<std::int64_t>();
    out.netns = netns();
    out.direction = one_of<Direction>();
    out.protocol = text();
    out.source = endpoint();
    if (below(5) == 0) out.source.address.clear();
    out.destination = endpoint();
    out.flags = maybe([&] { return text(); });
    out.length = maybe([&] { return number<std::uint32_t>(); });
    out.iif = maybe([&] { return text(); });
    out.oif = maybe([&] { return text(); });
    out.origin = maybe([&] { return one_of<Origin>(); });
    out.steps = several<Step>([&] { return step(false); });
    out.outcome = one_of<PacketOutcome>();
    return out;
  }

  Connection connection() {
    Connection out;
    out.id = number<std::uint64_t>();
    out.protocol = text();
    out.client = endpoint();
    out.server = endpoint();
    out.nat = maybe([&] { return Nat{endpoint(), endpoint(), endpoint(), endpoint()}; });
    out.netns = netns();
    out.started_ns = number<std::int64_t>();
    out.ended_ns = maybe([&] { return number<std::int64_t>(); });
    out.outcome = one_of<ConnectionOutcome>();
    out.error = maybe([&] { return text(); });
    out.cause = cause();
    out.fixes = several<Fix>([&] { return Fix{text(), text()}; });
    out.packets = several<std::uint64_t>([&] { return number<std::uint64_t>(); });
    out.confidence = one_of<Confidence>();
    out.missing = several<std::string>([&] { return text(); });
    return out;
  }

  // Only the members that belong to the kind are set: the others aren't written. `path` is written
  // within a cause only.
  Step step(bool in_cause) {
    Step out;
    out.offset_ns = number<std::int64_t>();
    // a rule or a policy decides
    out.kind = in_cause ? (below(2) == 0 ? StepKind::rule : StepKind::policy) : one_of<StepKind>();
    const auto words = [&] { return maybe([&] { return text(); }); };
    switch (out.kind) {
      case StepKind::rule:
        place(out);
        out.rule = maybe([&] { return number<int>(); });
        out.handle = maybe([&] { return number<std::uint64_t>(); });
        out.target = words();
        out.text = words();
        out.comment = words();
        out.elements = several<SetElement>([&] {
          return SetElement{maybe([&] { return text(); }), maybe([&] { return text(); })};
        });
        if (in_cause) out.path = several<PathElement>([&] { return PathElement{text(), number<int>()}; });
        break;
      case StepKind::policy:
        place(out);
        break;
      case StepKind::nat:
        out.which = words();
        out.from = words();
        out.to = words();
        break;
      case StepKind::conntrack:
        out.state = words();
        break;
      case StepKind::reject:
        out.with = words();
        break;
      case StepKind::drop:
        out.reason = words();
        out.where = words();
        break;
      case StepKind::deliver:
        out.listener = words();
        break;
      case StepKind::transmit:
      case StepKind::receive:
        out.interface = words();
        break;
    }
    return out;
  }

  // Never empty: what isn't known is null. Valid UTF-8, controls and what terminals act upon included.
  std::string text() {
    static const std::vector<std::string> pieces = {"a",
                                                    "web",
                                                    "-p tcp --dport 80",
                                                    "\x1b[31m",
                                                    "\r",
                                                    "\n",
                                                    "\\x1b",
                                                    "\"",
                                                    "\x7f",
                                                    "\xc2\x9b",
                                                    "\xe2\x80\xae",
                                                    "\xe2\x81\xa6",
                                                    "\xf0\x9f\x94\xa5",
                                                    "\xc3\xa4",
                                                    "→",
                                                    "\\",
                                                    "\t",
                                                    " ",
                                                    "\u2028"};
    std::string out;
    for (std::size_t i = 1 + below(4); i > 0; --i) out += pieces[below(pieces.size())];
    return out;
  }

  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

  template <typename T>
  T number() {
    using Limits = std::numeric_limits<T>;
    switch (below(4)) {
      case 0:
        return Limits::min();
      case 1:
        return Limits::max();
      case 2:
        return static_cast<T>(below(100));
      default:
        return std::uniform_int_distribution<T>(Limits::min(), Limits::max())(random_);
    }
  }

 private:
  template <typename E>
  E one_of() {
    return static_cast<E>(below(Words<E>::table.size()));
  }

  template <typename F>
  auto maybe(F&& make) -> std::optional<decltype(make())> {
    if (below(3) == 0) return std::nullopt;
    return make();
  }

  template <typename T, typename F>
  std::vector<T> several(F&& make) {
    std::vector<T> out;
    for (std::size_t i = below(4); i > 0; --i) out.push_back(make());
    return out;
  }

  Netns netns() {
    return {number<std::uint32_t>(), maybe([&] { return text(); })};
  }
  Endpoint endpoint() {
    return {text(), maybe([&] { return number<std::uint16_t>(); })};
  }

  void place(Step& out) {
    out.backend = maybe([&] { return one_of<Backend>(); });
    out.family = maybe([&] { return one_of<Family>(); });
    out.table = maybe([&] { return text(); });
    out.chain = maybe([&] { return text(); });
    out.hook = maybe([&] { return one_of<Hook>(); });
    out.priority = maybe([&] { return number<int>(); });
    out.verdict = maybe([&] { return one_of<Verdict>(); });
    out.missing = maybe([&] { return text(); });
  }

  Listener listener() {
    Listener out;
    out.address = text();
    out.port = number<std::uint16_t>();
    out.pid = maybe([&] { return number<std::uint32_t>(); });
    out.program = maybe([&] { return text(); });
    out.device = maybe([&] { return text(); });
    out.netns = netns();
    out.backlog = maybe([&] { return number<std::uint32_t>(); });
    out.max_backlog = maybe([&] { return number<std::uint32_t>(); });
    return out;
  }

  Cause cause() {
    Cause out;
    out.kind = one_of<CauseKind>();
    out.summary = text();
    out.rule = maybe([&] { return step(true); });
    out.listener = maybe([&] { return listener(); });
    out.reason = maybe([&] { return text(); });
    out.shadowed = maybe([&] { return step(true); });
    out.evidence = several<std::string>([&] { return text(); });
    return out;
  }

  std::mt19937 random_;
};

}  // namespace pathtrace::test
