// SPDX-License-Identifier: GPL-2.0
// Golden output of the text view.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "random_record.h"
#include "render/output.h"
#include "render/utf8.h"

namespace pathtrace {
namespace {

// What a text sink makes of the records.
std::string show(const std::vector<Record>& records, TextOptions options = {}) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* out = open_memstream(&text, &size);
  const auto sink = make_text_sink(out, options);
  for (const auto& record : records) EXPECT_TRUE(sink->write(record));
  const bool ended = !records.empty() && std::holds_alternative<EndRecord>(records.back());
  EXPECT_TRUE(ended ? sink->finish() : sink->flush());
  std::fclose(out);
  std::string shown(text, size);
  std::free(text);  // NOLINT: open_memstream's
  return shown;
}

Step rule(const char* table, const char* chain, int number, Verdict verdict, const char* text,
          const char* target = nullptr) {
  Step step;
  step.backend = Backend::iptables_legacy;
  step.family = Family::ip;
  step.table = table;
  step.chain = chain;
  step.rule = number;
  step.verdict = verdict;
  step.text = text;
  if (target != nullptr) step.target = target;
  return step;
}

Step policy(const char* table, const char* chain, Verdict verdict) {
  Step step;
  step.kind = StepKind::policy;
  step.backend = Backend::iptables_legacy;
  step.family = Family::ip;
  step.table = table;
  step.chain = chain;
  step.verdict = verdict;
  return step;
}

Step other(StepKind kind) {
  Step step;
  step.kind = kind;
  return step;
}

Packet packet(std::uint64_t id, std::int64_t us, const char* flags, std::vector<Step> steps) {
  Packet out;
  out.id = id;
  out.connection = 1;
  out.ts_ns = 1'700'000'000'000'000'000 + us * 1000;
  out.netns.inode = 4026531840;
  out.protocol = "tcp";
  out.source = {"10.0.0.9", 51514};
  out.destination = {"10.0.0.1", 80};
  out.flags = flags;
  out.steps = std::move(steps);
  return out;
}

Connection connection(ConnectionOutcome outcome) {
  Connection out;
  out.id = 1;
  out.protocol = "tcp";
  out.client = {"10.0.0.9", 51514};
  out.server = {"10.0.0.1", 80};
  out.started_ns = 1'700'000'000'000'000'000;
  out.outcome = outcome;
  return out;
}

// The refused connection of the README.
std::vector<Record> refused() {
  Step reject = other(StepKind::reject);
  reject.with = "tcp-reset";
  Step drop = other(StepKind::drop);
  drop.reason = "NETFILTER_DROP";
  Step in = other(StepKind::receive);
  in.interface = "eth0";
  const Step decided = rule("filter", "web", 2, Verdict::reject,
                            "-s 10.0.0.0/8 -p tcp --dport 80 -j REJECT --reject-with tcp-reset", "REJECT");
  Packet syn = packet(1, 0, "S",
                      {in, policy("raw", "PREROUTING", Verdict::accept),
                       rule("filter", "INPUT", 2, Verdict::jump, "-p tcp --dport 80 -j web", "web"),
                       rule("filter", "web", 1, Verdict::continue_, "-m comment --comment \"count me\""),
                       decided, reject, drop});
  syn.iif = "eth0";
  syn.outcome = PacketOutcome::rejected;
  Packet rst = packet(2, 21, "RA", {policy("filter", "OUTPUT", Verdict::accept)});
  rst.direction = Direction::reply;
  std::swap(rst.source, rst.destination);
  rst.oif = "eth0";
  rst.origin = Origin::reject;
  rst.outcome = PacketOutcome::sent;
  Connection made = connection(ConnectionOutcome::refused);
  made.error = "ECONNREFUSED";
  made.cause.kind = CauseKind::firewall_reject;
  made.cause.summary =
      "iptables (legacy) filter/web rule 2 rejects 10.0.0.0/8. nginx (pid 812) listens on 0.0.0.0:80 and "
      "never saw "
      "the SYN";
  made.cause.rule = decided;
  made.cause.shadowed = rule("filter", "web", 3, Verdict::accept, "-p tcp --dport 80 -j ACCEPT");
  made.fixes = {
      {"iptables-legacy -I web 2 -s 10.0.0.9/32 -p tcp --dport 80 -j ACCEPT", "not saved across a reboot"}};
  made.packets = {1, 2};
  return {StartRecord{}, syn, rst, made, EndRecord{}};
}

TEST(Text, TheReadmesExample) {
  EXPECT_EQ(show(refused(), {.width = 109}),
            R"(
10.0.0.9:51514 → 10.0.0.1:80 tcp   REFUSED by filter/web rule 2
    0.000 ms  SYN in eth0
              raw    PREROUTING  policy                                                      ACCEPT
              filter INPUT   #2  -p tcp --dport 80 -j web                                    → web
              filter web     #1  -m comment --comment "count me"                             continue
              filter web     #2  -s 10.0.0.0/8 -p tcp --dport 80 -j REJECT --reject-with …   REJECT tcp-reset
    0.021 ms  RST out eth0   made by the REJECT above, not by a service
              filter OUTPUT      policy                                                      ACCEPT
    cause     iptables (legacy) filter/web rule 2 rejects 10.0.0.0/8. nginx (pid 812) listens on 0.0.0.0:80 and never saw the SYN
    shadowed  filter/web rule 3 (-p tcp --dport 80 -j ACCEPT) would have accepted it; rule 2 comes first
    fix       iptables-legacy -I web 2 -s 10.0.0.9/32 -p tcp --dport 80 -j ACCEPT        (printed, never run; not saved across a reboot)
)");
}

TEST(Text, WithoutAWidthNothingIsShortened) {
  const std::string shown = show(refused());
  EXPECT_EQ(shown.find("…"), std::string::npos);
  EXPECT_NE(shown.find("--reject-with tcp-reset   REJECT tcp-reset\n"), std::string::npos) << shown;
}

TEST(Text, AsciiWhereTheLocaleIs) {
  const std::string shown = show(refused(), {.width = 80, .utf8 = false});
  for (const char c : shown) ASSERT_LT(static_cast<unsigned char>(c), 0x80) << shown;
  EXPECT_NE(shown.find("10.0.0.9:51514 -> 10.0.0.1:80"), std::string::npos);
  EXPECT_NE(shown.find("-> web\n"), std::string::npos);
  EXPECT_NE(shown.find("...   REJECT tcp-reset"), std::string::npos) << shown;
}

TEST(Text, ColourIsOnOutcomeAndVerdictsOnly) {
  const std::string shown = show(refused(), {.color = true, .width = 109});
  EXPECT_NE(shown.find("tcp   \x1b[31mREFUSED\x1b[0m by filter/web rule 2\n"), std::string::npos) << shown;
  EXPECT_NE(shown.find("   \x1b[31mREJECT tcp-reset\x1b[0m\n"), std::string::npos) << shown;
  EXPECT_NE(shown.find("   \x1b[32mACCEPT\x1b[0m\n"), std::string::npos) << shown;
  std::string plain = shown;
  for (const std::string code : {"\x1b[31m", "\x1b[32m", "\x1b[0m"})
    for (std::size_t at = plain.find(code); at != std::string::npos; at = plain.find(code))
      plain.erase(at, code.size());
  EXPECT_EQ(plain, show(refused(), {.width = 109}));
}

// A dropped SYN, sent again twice, seen in two namespaces; nftables over IPv6.
std::vector<Record> timed_out() {
  Step dropped;
  dropped.kind = StepKind::policy;
  dropped.backend = Backend::nftables;
  dropped.family = Family::inet;
  dropped.table = "firewall";
  dropped.chain = "input";
  dropped.verdict = Verdict::drop;
  Step freed = other(StepKind::drop);
  freed.reason = "NETFILTER_DROP";
  freed.where = "nf_hook_slow";
  std::vector<Record> records;
  for (const std::int64_t us : {0, 1'012'000, 3'060'000}) {
    Packet out = packet(static_cast<std::uint64_t>(us), us, "S", {});
    out.source.address = "fd00::9";
    out.destination.address = "fd00::1";
    out.length = 80;
    out.netns = {5, "client"};
    out.oif = "eth0";
    Packet in = out;
    in.ts_ns += 11'000;
    in.id += 1;
    in.netns = {6, std::nullopt};
    in.oif.reset();
    in.iif = "veth1";
    in.steps = {dropped, freed};
    in.steps[0].offset_ns = us;
    in.outcome = PacketOutcome::dropped;
    records.emplace_back(out);
    records.emplace_back(in);
  }
  Connection made = connection(ConnectionOutcome::timed_out);
  made.client.address = "fd00::9";
  made.server.address = "fd00::1";
  made.error = "ETIMEDOUT";
  made.cause.kind = CauseKind::firewall_policy;
  made.cause.rule = dropped;
  made.cause.summary = "the policy of inet firewall/input drops it";
  made.confidence = Confidence::partial;
  made.missing = {"2 events of this connection were lost"};
  records.emplace_back(made);
  return records;
}

TEST(Text, RepeatedSynsAreFoldedAndNamespacesTold) {
  EXPECT_EQ(show(timed_out()), R"(
[fd00::9]:51514 → [fd00::1]:80 tcp   TIMED OUT by inet firewall/input policy
    0.000 ms  SYN out eth0 @client
    0.011 ms  SYN in veth1 @6
              inet firewall input  policy   DROP
 1012.000 ms  SYN again after 1.0 s, 3.1 s: same path
    cause     the policy of inet firewall/input drops it
    missing   2 events of this connection were lost
)");
}

TEST(Text, ASynThatTookAnotherPathIsShown) {
  Packet first = packet(1, 0, "S", {policy("filter", "INPUT", Verdict::drop)});
  Packet second = packet(2, 1'000'000, "S", {policy("filter", "INPUT", Verdict::accept)});
  Step delivered = other(StepKind::deliver);
  delivered.listener = "0.0.0.0:80";
  second.steps.push_back(delivered);
  EXPECT_EQ(show({first, second, connection(ConnectionOutcome::established)}), R"(
10.0.0.9:51514 → 10.0.0.1:80 tcp   ESTABLISHED
    0.000 ms  SYN
              filter INPUT  policy   DROP
 1000.000 ms  SYN
              filter INPUT  policy   ACCEPT
              delivered     to 0.0.0.0:80
)");
}

TEST(Text, AConnectionShownBeforeGetsAShortBlock) {
  Connection first = connection(ConnectionOutcome::established);
  first.cause.kind = CauseKind::established;
  first.cause.summary = "nginx (pid 812) accepted it";
  Connection later = connection(ConnectionOutcome::reset);
  later.cause.kind = CauseKind::application_abort;
  later.cause.summary = "nginx (pid 812) closed it with unread data";
  later.fixes = {{"never shown", ""}};
  EXPECT_EQ(show({packet(1, 0, "S", {}), first, packet(2, 5000, "RA", {}), later}), R"(
10.0.0.9:51514 → 10.0.0.1:80 tcp   ESTABLISHED
    0.000 ms  SYN
    cause     nginx (pid 812) accepted it

10.0.0.9:51514 → 10.0.0.1:80 tcp   RESET: application abort
    5.000 ms  RST
    cause     nginx (pid 812) closed it with unread data
)");
}

// The client goes on after the first report, and then gives up. Another path is told.
TEST(Text, ASynOfALaterBlockThatTookAPathToldBeforeIsOneLine) {
  Connection timed_out = connection(ConnectionOutcome::timed_out);
  timed_out.cause.kind = CauseKind::firewall_policy;
  timed_out.cause.summary = "the policy of filter/INPUT drops it";
  const auto syn = [](std::uint64_t id, std::int64_t us, Verdict verdict) {
    return packet(id, us, "S", {policy("filter", "INPUT", verdict)});
  };
  EXPECT_EQ(show({syn(1, 0, Verdict::drop), syn(2, 1'000'000, Verdict::drop), timed_out,
                  syn(3, 3'000'000, Verdict::drop), syn(4, 7'000'000, Verdict::drop), timed_out,
                  syn(5, 15'000'000, Verdict::accept), connection(ConnectionOutcome::established)}),
            R"(
10.0.0.9:51514 → 10.0.0.1:80 tcp   TIMED OUT: firewall policy
    0.000 ms  SYN
              filter INPUT  policy   DROP
 1000.000 ms  SYN again after 1.0 s: same path
    cause     the policy of filter/INPUT drops it

10.0.0.9:51514 → 10.0.0.1:80 tcp   TIMED OUT: firewall policy
 3000.000 ms  SYN again after 3.0 s, 7.0 s: same path

10.0.0.9:51514 → 10.0.0.1:80 tcp   ESTABLISHED
15000.000 ms  SYN
              filter INPUT  policy   ACCEPT
)");
}

TEST(Text, WhatElseAPacketMeets) {
  Step nat = other(StepKind::nat);
  nat.which = "dst";
  nat.from = "10.0.0.1:80";
  nat.to = "172.17.0.2:8080";
  Step drop = other(StepKind::drop);
  drop.reason = "IP_RPFILTER";
  drop.where = "ip_rcv_finish_core";
  Step unknown = rule("nat", "PREROUTING", 1, Verdict::accept, "");
  unknown.chain.reset();
  unknown.rule.reset();
  unknown.text.reset();
  unknown.missing = "the table was replaced meanwhile";
  Packet in = packet(1, 0, "S", {unknown, nat, drop});
  in.iif = "eth0";
  in.outcome = PacketOutcome::dropped;
  Packet lost = packet(2, 100, "S", {});
  lost.iif = "eth1";
  lost.outcome = PacketOutcome::dropped;
  Connection made = connection(ConnectionOutcome::unreachable);
  made.error = "EHOSTUNREACH";
  made.cause.kind = CauseKind::rp_filter;
  made.nat = Nat{{"10.0.0.9", 51514}, {"10.0.0.1", 80}, {"10.0.0.9", 51514}, {"172.17.0.2", 8080}};
  EXPECT_EQ(show({in, lost, made}), R"(
10.0.0.9:51514 → 10.0.0.1:80 tcp   UNREACHABLE (EHOSTUNREACH "No route to host"): rp filter
    0.000 ms  SYN in eth0
              nat ?    (the table was replaced meanwhile)   ACCEPT
              dst NAT  10.0.0.1:80 → 172.17.0.2:8080
              dropped  IP_RPFILTER, in ip_rcv_finish_core
    0.100 ms  SYN in eth1
              dropped  where is not known
    nat       dst 10.0.0.1:80 → 172.17.0.2:8080
)");
}

TEST(Text, BothIptablesAreToldApart) {
  Step nft = policy("filter", "INPUT", Verdict::drop);
  nft.backend = Backend::iptables_nft;
  const std::string shown = show({packet(1, 0, "S", {policy("filter", "INPUT", Verdict::accept), nft}),
                                  connection(ConnectionOutcome::timed_out)});
  EXPECT_NE(shown.find("filter(legacy) INPUT  policy   ACCEPT\n"), std::string::npos) << shown;
  EXPECT_NE(shown.find("filter(nft)    INPUT  policy   DROP\n"), std::string::npos) << shown;
}

TEST(Text, LossIsToldWhereItHappenedAndUnreportedPacketsAtTheEnd) {
  Packet reply = packet(1, 0, "SA", {});
  reply.direction = Direction::reply;
  std::swap(reply.source, reply.destination);
  EXPECT_EQ(show({LostRecord{12, 0, "ring buffer"}, reply, EndRecord{}}), R"(
LOST 12 events (ring buffer): connections shown from here on may lack packets

10.0.0.9:51514 → 10.0.0.1:80 tcp   NOT FINISHED
    0.000 ms  SYN-ACK
)");
}

TEST(Text, NoReplyIsToldAlsoWhereItIsNoFailure) {
  Connection silent = connection(ConnectionOutcome::in_progress);
  silent.cause.kind = CauseKind::no_reply;
  EXPECT_EQ(show({silent}), "\n10.0.0.9:51514 → 10.0.0.1:80 tcp   IN PROGRESS: no reply\n");
}

TEST(Text, AFloodCostsDetailsAndSaysSo) {
  std::vector<Record> records;
  for (int i = 0; i < 70'000; ++i) {
    Packet one = packet(1, 0, "S", {});
    one.connection = 1 + static_cast<std::uint64_t>(i) / 2;
    records.emplace_back(one);
  }
  records.emplace_back(connection(ConnectionOutcome::in_progress));
  const std::string shown = show(records);
  EXPECT_EQ(shown, R"(
10.0.0.9:51514 → 10.0.0.1:80 tcp   IN PROGRESS
    missing   2 packets: too many waited to be shown
)");
}

// Names of the host under test may hold anything; what reaches the terminal holds nothing it obeys.
TEST(Text, NothingForeignMovesATerminal) {
  test::RandomRecord random(6);
  for (int i = 0; i < 300; ++i) {
    std::vector<Record> records;
    for (int n = 0; n < 12; ++n) {
      Packet one = random.packet();
      one.connection = random.below(3);
      records.emplace_back(one);
      Connection made = random.connection();
      made.id = random.below(3);
      if (random.below(3) == 0) records.emplace_back(made);
      records.emplace_back(random.any());
    }
    records.emplace_back(EndRecord{});
    const std::string shown = show(records, {.width = static_cast<int>(random.below(200))});
    for (std::string_view rest = shown; !rest.empty();) {
      const Utf8Char c = first_char(rest);
      ASSERT_GT(c.length, 0U);
      ASSERT_TRUE(c.code == '\n' || !is_control(c.code)) << shown;
      rest.remove_prefix(c.length);
    }
  }
}

// The capture is the stream itself: what a replay shows is what was shown live.
TEST(Text, AReplayShowsWhatTheLiveViewShowed) {
  test::RandomRecord random(7);
  std::vector<std::vector<Record>> streams = {refused(), timed_out()};
  for (int i = 0; i < 200; ++i) {
    std::vector<Record>& stream = streams.emplace_back();
    for (int n = 0; n < 10; ++n) {
      Packet one = random.packet();
      one.connection = random.below(3);
      one.iif = std::string("raw\xff\x1b[m\xc2\x9b", 9);
      stream.emplace_back(one);
      Connection made = random.connection();
      made.id = random.below(3);
      if (random.below(2) == 0) stream.emplace_back(made);
    }
    stream.emplace_back(EndRecord{});
  }
  for (const auto& stream : streams) {
    std::vector<Record> replayed;
    for (const auto& record : stream) {
      const auto back = from_json_line(to_json_line(record));
      ASSERT_TRUE(back) << back.error().message;
      replayed.push_back(*back);
    }
    const TextOptions options{.width = 100};
    ASSERT_EQ(show(replayed, options), show(stream, options));
  }
}

TEST(Notices, Ready) {
  StartRecord start;
  start.kernel = "6.1.0-50-cloud-amd64";
  start.backends = {Backend::iptables_legacy, Backend::nftables};
  start.filter = "tcp,udp port 80, all network namespaces";
  start.probes = {{"iptables", ProbeState::attached, {}},
                  {"reject", ProbeState::unavailable, "who made a RST can't be told"}};
  EXPECT_EQ(readiness_notice(start),
            "pathtrace: ready. Linux 6.1.0-50-cloud-amd64, iptables-legacy + nftables; tracing tcp,udp port "
            "80, all "
            "network namespaces\n");
}

TEST(Notices, Closing) {
  EXPECT_EQ(closing_notice({0, 4, 17, 0, 0, "interrupted"}),
            "pathtrace: 4 connections, 17 packets, 0 lost (interrupted)\n");
  EXPECT_EQ(closing_notice({0, 1, 1, 2, 0, "count reached"}),
            "pathtrace: 1 connection, 1 packet, 2 lost (count reached)\n");
}

}  // namespace
}  // namespace pathtrace
