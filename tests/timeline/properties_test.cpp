// SPDX-License-Identifier: GPL-2.0
// What must hold for any stream: order of arrival doesn't matter, nothing is lost or counted twice,
// memory and time are bounded.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <ctime>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "timeline/stream.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)

struct Digest {
  std::uint64_t id = 0;
  Endpoint client;
  std::vector<Packet> packets;
  std::size_t new_packets_from = 0, sockets = 0, answers = 0, drops = 0, listeners = 0;
  bool final = false, again = false;
  std::optional<std::size_t> decided;
  std::int64_t last_ns = 0;
  bool operator==(const Digest&) const = default;
};

std::vector<Digest> digest(const std::vector<ConnectionTrace>& traces) {
  std::vector<Digest> all;
  all.reserve(traces.size());
  for (const ConnectionTrace& t : traces)
    all.push_back({t.connection.id, t.connection.client, t.packets, t.new_packets_from, t.sockets.size(),
                   t.answers.size(), t.drops.size(), t.listeners.size(), t.final, t.again,
                   t.decided ? std::optional(t.decided->packets) : std::nullopt, t.last_ns});
  return all;
}

// Arrival as from several CPUs: nothing comes later than reorder_ns after something newer.
Events shuffled(Events events, std::int64_t within_ns, std::mt19937& random) {
  std::uniform_int_distribution<std::int64_t> delay(0, within_ns);
  std::vector<std::pair<std::int64_t, std::size_t>> arrival;
  for (std::size_t i = 0; i < events.size(); ++i) arrival.emplace_back(events[i].ts_ns + delay(random), i);
  std::sort(arrival.begin(), arrival.end());
  Events all;
  for (const auto& [when, i] : arrival) all.push_back(events[i]);
  return all;
}

Events busy_host() {
  Events all;
  for (unsigned i = 0; i < 60; ++i) {
    const At peer{"10.0.1." + std::to_string(1 + i), static_cast<std::uint16_t>(30'000 + i)};
    const std::int64_t t = i * 900LL;
    const Skb s = tcp(peer, server, tcp_syn, isn + i * 1000).from("eth0");
    all.push_back(accepted(s, t, Hook::prerouting));
    if (i % 3 == 0) {
      all.push_back(walk(s, t + 10, Hook::input, {rule("INPUT", 1, Verdict::reject)}));
      all.push_back(rejected(s, t + 12, "tcp-reset"));
      all.push_back(accepted(rst_to(s, Origin::reject).to("eth0"), t + 15, Hook::output));
      all.push_back(dropped(s, t + 20, "NETFILTER_DROP"));
      for (unsigned late = 0; late <= i % 4; ++late) {
        const Skb a = tcp(peer, server, tcp_ack, isn + i * 1000 + 1, late).from("eth0");
        all.push_back(accepted(a, t + 90'000 + late * 120'000LL, Hook::input));
        all.push_back(stack_reset(a, t + 90'001 + late * 120'000LL));
      }
    } else if (i % 3 == 1) {
      all.push_back(walk(s, t + 10, Hook::input, {policy("INPUT", Verdict::drop)}));
      all.push_back(walk(s, t + 1'000'010, Hook::input, {policy("INPUT", Verdict::drop)}));
    } else {
      all.push_back(accepted(s, t + 10, Hook::input));
      all.push_back(at_listener(s, t + 12));
      const Skb sa = tcp(server, peer, tcp_syn | tcp_ack, 77'000'000 + i * 1000, isn + i * 1000 + 1);
      all.push_back(accepted(sa.to("eth0"), t + 20, Hook::output));
      const Skb a = tcp(peer, server, tcp_ack, isn + i * 1000 + 1, 77'000'001 + i * 1000).from("eth0");
      all.push_back(accepted(a, t + 500, Hook::input));
      all.push_back(socket(server, peer, t + 501, state(3, 1, 0, i + 1)));
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Observation& a, const Observation& b) { return a.ts_ns < b.ts_ns; });
  return all;
}

TEST(Properties, ArrivalOrderDoesNotMatter) {
  const TimelineSettings settings;
  const Events events = busy_host();
  const auto expected = digest(run(events));
  EXPECT_GT(expected.size(), 80U);  // 60 connections, 20 of which have something to say later
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    EXPECT_EQ(digest(run(shuffled(events, settings.reorder_ns, random))), expected) << "seed " << seed;
  }
}

void check_moments_of_advance(const TimelineSettings& settings) {
  std::mt19937 random(7);
  const Events events = shuffled(busy_host(), 1'000'000, random);
  const auto expected = digest(run(events, settings));
  Timeline timeline(settings);
  std::vector<ConnectionTrace> traces;
  for (const Observation& o : events) {
    timeline.add(o);
    timeline.advance(o.ts_ns);
    for (ConnectionTrace& t : timeline.take()) traces.push_back(std::move(t));
  }
  timeline.finish();
  for (ConnectionTrace& t : timeline.take()) traces.push_back(std::move(t));
  std::stable_sort(traces.begin(), traces.end(), [](const auto& a, const auto& b) {
    return a.connection.started_ns < b.connection.started_ns;
  });
  EXPECT_EQ(digest(traces), expected);
}

TEST(Properties, NeitherDoTheMomentsOfAdvance) { check_moments_of_advance({}); }

TEST(Properties, NorDoTheyIfLittleIsRemembered) {
  TimelineSettings settings;
  settings.max_decided_steps = 40;
  check_moments_of_advance(settings);
  settings.max_steps = 60;
  settings.max_connections = 30;
  check_moments_of_advance(settings);
}

// Few addresses, ports and kernel addresses, so that everything collides with everything.
class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}

  Observation event(std::int64_t ts_ns) {
    Observation o = header();
    o.ts_ns = ts_ns;
    switch (below(8)) {
      case 0:
        o.detail = RejectObservation{"tcp-reset"};
        break;
      case 1:
        o.detail = StackResetObservation{below(2) == 0, below(12), std::nullopt};
        break;
      case 2:
        o.detail = ListenerSynObservation{below(4), 2, below(2) == 0};
        break;
      case 3:
        o.detail = DropObservation{"NETFILTER_DROP", "nf_hook_slow"};
        break;
      case 4:
        o.detail = SocketObservation{what(), below(4), below(13), below(13), below(120), std::nullopt};
        break;
      default:
        o.detail = random_walk();
        break;
    }
    return o;
  }
  std::uint32_t below(std::uint32_t n) {
    return std::uniform_int_distribution<std::uint32_t>(0, n - 1)(engine_);
  }

 private:
  SocketObservation::What what() { return static_cast<SocketObservation::What>(below(4)); }
  Observation header() {
    const At a{"10.0.0.1", static_cast<std::uint16_t>(80 + below(2))};
    const At b{"10.0.0.2", static_cast<std::uint16_t>(1000 + below(3))};
    Observation o;
    const bool there = below(2) == 0;
    o.flow = flow(there ? a : b, there ? b : a, below(5) == 0 ? protocol_udp : protocol_tcp);
    o.flow.tcp_flags = static_cast<std::uint8_t>(below(32));
    o.flow.seq = below(3) * 0x60000000;
    o.flow.ack_seq = below(3) * 0x60000000 + 1;
    o.skb = below(4) * 64ULL;
    o.head = below(4) * 4096ULL;
    o.parent = below(6) == 0 ? below(4) * 64ULL : 0;
    o.netns.inode = below(3);
    o.icmp_error = below(10) == 0;
    o.reversed = below(5) == 0;
    if (below(2) == 0) o.iif = "eth0";
    if (below(2) == 0) o.oif = "eth1";
    if (below(8) != 0) o.hook = static_cast<Hook>(below(7));
    if (below(2) == 0) o.origin = static_cast<Origin>(below(4));
    return o;
  }
  WalkObservation random_walk() {
    WalkObservation w;
    w.table = below(2) == 0 ? "filter" : "nat";
    w.verdict = static_cast<Verdict>(below(9));
    for (std::uint32_t i = below(3); i > 0; --i) {
      w.steps.push_back(
          rule("c" + std::to_string(below(2)), static_cast<int>(i), static_cast<Verdict>(below(9))));
      if (below(6) == 0) w.steps.back().missing = "lost";
    }
    return w;
  }
  std::mt19937 engine_;
};

TEST(Properties, EveryPacketBelongsToOneConnection) {
  for (unsigned seed = 0; seed < 10; ++seed) {
    Random random(seed);
    TimelineSettings settings;
    settings.max_connections = 3 + random.below(50);
    settings.max_steps = 100 + random.below(1000);
    settings.max_packets = 2 + random.below(50);
    settings.max_decided_steps = 20 + random.below(500);
    Timeline timeline(settings);
    std::map<std::uint64_t, std::uint64_t> owner;
    std::map<std::uint64_t, std::uint64_t> omitted;  // by connection
    std::set<std::uint64_t> reported;
    std::int64_t now = start_ns;
    const auto check = [&] {
      for (const ConnectionTrace& t : timeline.take()) {
        EXPECT_LE(t.new_packets_from, t.packets.size());
        EXPECT_LE(t.packets.size(), settings.max_packets);
        ASSERT_EQ(t.connection.packets.size(), t.packets.size());
        omitted[t.connection.id] = t.packets_omitted;
        for (std::size_t i = t.new_packets_from; i < t.packets.size(); ++i)
          EXPECT_TRUE(reported.insert(t.packets[i].id).second) << t.packets[i].id << " again";
        for (std::size_t i = 0; i < t.packets.size(); ++i) {
          const Packet& p = t.packets[i];
          EXPECT_EQ(p.id, t.connection.packets[i]);
          EXPECT_EQ(p.connection, t.connection.id);
          EXPECT_EQ(owner.emplace(p.id, t.connection.id).first->second, t.connection.id);
        }
      }
    };
    for (int i = 0; i < 2000; ++i) {
      now += static_cast<std::int64_t>(random.below(random.below(50) == 0 ? 2'000'000'000 : 3'000'000));
      timeline.add(random.event(now - random.below(8'000'000)));
      if (random.below(10) == 0) timeline.advance(now);
      if (random.below(20) == 0) check();
    }
    timeline.finish();
    check();
    EXPECT_EQ(timeline.next_due_ns(), 0);
    // none was lost without being counted
    std::uint64_t all = reported.size();
    for (const auto& [connection, count] : omitted) all += count;
    ASSERT_FALSE(reported.empty());
    EXPECT_GE(all, *reported.rbegin());
  }
}

#ifdef __SANITIZE_ADDRESS__  // gcc
#define SANITISED 1
#elif defined(__has_feature)
#define SANITISED __has_feature(address_sanitizer)
#else
#define SANITISED 0
#endif
#if SANITISED
constexpr unsigned many = 12'000;  // each takes many times as long
#else
constexpr unsigned many = 100'000;
#endif

// Seconds of the processor, as other programs may keep the machine busy.
double seconds_for(unsigned connections) {
  TimelineSettings settings;
  settings.max_steps = connections;
  Timeline timeline(settings);
  const std::clock_t begin = std::clock();
  std::size_t reported = 0;
  for (unsigned i = 0; i < connections; ++i) {
    const At peer{
        "10." + std::to_string(i >> 16) + "." + std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255),
        static_cast<std::uint16_t>(1024 + i % 60'000)};
    const std::int64_t t = i * 600LL;  // 100,000 a minute
    const Skb s = tcp(peer, server, tcp_syn, i * 7).from("eth0").at(0xffff888000000000 + i % 512 * 64ULL);
    timeline.add(walk(s, t, Hook::input, {rule("INPUT", 1, Verdict::jump), rule("web", 1, Verdict::reject)}));
    timeline.add(rejected(s, t + 2, "tcp-reset"));
    timeline.add(accepted(rst_to(s, Origin::reject).to("eth0"), t + 4, Hook::output));
    timeline.add(dropped(s, t + 8, "NETFILTER_DROP"));
    if (i % 100 == 0) reported += timeline.take().size();
  }
  timeline.finish();
  reported += timeline.take().size();
  EXPECT_EQ(reported, connections);
  EXPECT_EQ(timeline.evicted(), 0U);
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

// Eight times as many take eight times as long, and twelve times at most: what a connection costs does not
// grow with the others. More than one attempt, as what else the machine does slows a few down more than many.
TEST(Properties, ManyConnectionsTakeTimeInProportion) {
  double ratio = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const double few = seconds_for(many / 8);
    ratio = seconds_for(many) / few;
    if (ratio < 12) return;
  }
  FAIL() << "eight times as many connections take " << ratio << " times as long";
}

TEST(Properties, TwentyThousandAttemptsOnOneTuple) {
  Timeline timeline;
  std::size_t reported = 0;
  for (unsigned i = 0; i < 20'000; ++i) {
    timeline.add(at_listener(tcp(client, server, tcp_syn, i * 40'000).from("eth0"), i * 100LL));
    if (i % 100 == 0) reported += timeline.take().size();
  }
  timeline.finish();
  reported += timeline.take().size();
  EXPECT_EQ(reported, 20'000U);
}

}  // namespace
}  // namespace pathtrace
