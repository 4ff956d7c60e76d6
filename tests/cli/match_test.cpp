// SPDX-License-Identifier: GPL-2.0
#include "cli/match.h"

#include <gmock/gmock.h>

#include <sstream>

#include "cli/options.h"

namespace pathtrace {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

pt_filter filter(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> args;
  for (std::string word; in >> word;) args.push_back(word);
  const auto options = parse_options(args);
  EXPECT_TRUE(options) << line;
  return options->filter;
}

Packet packet() {
  Packet out;
  out.id = 1;
  out.connection = 9;
  out.protocol = "tcp";
  out.source = {"10.0.0.9", 51514};
  out.destination = {"10.0.0.1", 80};
  out.iif = "eth0";
  return out;
}

Packet error() {
  Packet out;
  out.protocol = "icmp";
  out.connection = 9;
  out.source = {"10.0.0.1", {}};
  out.destination = {"10.0.0.9", {}};
  return out;
}

Connection connection(std::uint64_t id) {
  Connection out;
  out.id = id;
  out.protocol = "tcp";
  out.client = {"10.0.0.9", 51514};
  out.server = {"10.0.0.1", 80};
  return out;
}

struct Case {
  const char* line;
  bool kept;
};

constexpr Case cases[] = {
    {"", true},
    {"--dport 80", true},
    {"--dport 51514", true},  // the direction of its replies
    {"--dport 81", false},
    {"--sport 80 --dport 51514", true},
    {"--sport 80 --dport 80", false},
    {"--port 80", true},
    {"--port 443", false},
    {"-s 10.0.0.9 -d 10.0.0.1", true},
    {"-s 10.0.0.1 -d 10.0.0.9", true},
    {"-s 10.0.0.9 -d 10.0.0.9", false},
    {"-s 10.0.0.0/24 --dport 80", true},
    {"-s 10.0.0.1 --dport 80", false},
    {"--host 10.0.0.1", true},
    {"--host 10.0.1.0/24", false},
    {"--host fd00::1", false},
    {"-p tcp", true},
    {"-p udp", false},
    {"-p icmp", false},
    {"-4", true},
    {"-6", false},
    {"-i eth0", true},
    {"-i eth1", false},
};

TEST(Match, Packets) {
  for (const auto& [line, kept] : cases) EXPECT_EQ(matches(filter(line), packet()), kept) << line;
}

TEST(Match, WhatSaysThatAConnectionUsesAnInterface) {
  Observation walk;
  walk.detail = WalkObservation{};  // the kernel side looked at both its devices
  Observation socket;
  socket.detail = SocketObservation{};
  Observation drop;
  drop.detail = DropObservation{};
  EXPECT_TRUE(may_begin(filter("-i eth0"), walk));
  EXPECT_FALSE(may_begin(filter("-i eth0"), socket));
  EXPECT_FALSE(may_begin(filter("-i eth0"), drop));
  drop.iif = "eth1";
  EXPECT_FALSE(may_begin(filter("-i eth0"), drop));
  EXPECT_TRUE(may_begin(filter("-i eth1"), drop));
  for (const auto* o : {&walk, &socket, &drop}) EXPECT_TRUE(may_begin(filter("--dport 80"), *o));
}

TEST(Match, ReplyPacketsMatchToo) {
  Packet reply = packet();
  std::swap(reply.source, reply.destination);
  for (const auto& [line, kept] : cases) EXPECT_EQ(matches(filter(line), reply), kept) << line;
}

TEST(Match, IcmpHasNoPorts) {
  Packet icmp = packet();
  icmp.protocol = "icmp";
  icmp.source.port.reset();
  icmp.destination.port.reset();
  EXPECT_TRUE(matches(filter(""), icmp));
  EXPECT_TRUE(matches(filter("-p icmp"), icmp));
  EXPECT_FALSE(matches(filter("--dport 80"), icmp));
  Packet arp = icmp;
  arp.protocol = "arp";
  EXPECT_TRUE(matches(filter(""), arp));
  EXPECT_TRUE(matches(filter("-p arp"), arp));
  EXPECT_FALSE(matches(filter("-p arp"), icmp));
  EXPECT_FALSE(matches(filter("--port 80"), arp));
}

TEST(Match, AConnectionByItsEndsBeforeAndAfterNat) {
  Connection connection;
  connection.protocol = "tcp";
  connection.client = {"10.0.0.9", 51514};
  connection.server = {"10.0.0.1", 80};
  connection.nat = Nat{{"10.0.0.9", 51514}, {"10.0.0.1", 80}, {"10.0.0.9", 51514}, {"172.17.0.2", 8080}};
  EXPECT_TRUE(matches(filter("--dport 80"), connection));
  EXPECT_TRUE(matches(filter("--dport 8080 -d 172.17.0.2"), connection));
  EXPECT_FALSE(matches(filter("--dport 80 -d 172.17.0.2"), connection));
}

TEST(ReplayFilter, KeepsWhatBelongsToAKeptConnection) {
  ReplayFilter picked(filter("--dport 80 -i eth0"), "x");
  EXPECT_THAT(picked.take(packet()), IsEmpty()) << "it waits for its connection";
  EXPECT_THAT(picked.take(error()), IsEmpty());
  EXPECT_THAT(picked.take(connection(9)),
              ElementsAre(Record(packet()), Record(error()), Record(connection(9))));
  EXPECT_THAT(picked.take(error()), ElementsAre(Record(error())));
  EXPECT_THAT(picked.take(connection(9)), ElementsAre(Record(connection(9))));
  EXPECT_THAT(picked.take(connection(10)), IsEmpty()) << "none of its packets was on eth0";
  EXPECT_THAT(picked.take(LostRecord{}), ElementsAre(Record(LostRecord{})));
}

// As live: the kernel side looks at the packet that an ICMP error quotes.
TEST(ReplayFilter, AnIcmpErrorIsOfTheProtocolThatItQuotes) {
  ReplayFilter tcp(filter("-p tcp"), "x");
  EXPECT_THAT(tcp.take(error()), IsEmpty());
  EXPECT_THAT(tcp.take(connection(9)), ElementsAre(Record(error()), Record(connection(9))));
  ReplayFilter icmp(filter("-p icmp"), "x");
  EXPECT_THAT(icmp.take(error()), IsEmpty());
  EXPECT_THAT(icmp.take(connection(9)), IsEmpty());
  Connection echo = connection(9);
  echo.protocol = "icmp";
  EXPECT_THAT(icmp.take(echo), ElementsAre(Record(echo)));
}

TEST(ReplayFilter, WhatItPicksIsAStreamOfItsOwn) {
  ReplayFilter picked(filter("--dport 80"), "tcp,udp port 80");
  StartRecord start;
  start.filter = "everything";
  StartRecord started = start;
  started.filter = "everything; of these tcp,udp port 80";
  EXPECT_THAT(picked.take(start), ElementsAre(Record(started)));
  picked.take(packet());
  picked.take(connection(9));
  picked.take(connection(9));
  Packet other = packet();
  other.connection = 11;
  other.destination.port = 443;
  picked.take(other);
  Connection elsewhere = connection(11);
  elsewhere.server.port = 443;
  EXPECT_THAT(picked.take(elsewhere), IsEmpty());
  EndRecord end;
  end.connections = 2;
  end.packets = 2;
  end.lost = 3;
  EndRecord ended = end;
  ended.connections = 1;
  ended.packets = 1;
  EXPECT_THAT(picked.take(end), ElementsAre(Record(ended)));
}

TEST(ReplayFilter, WhatIsCutOffBeforeItsConnectionIsTakenByItself) {
  ReplayFilter picked(filter("--dport 80"), "x");
  picked.take(packet());
  picked.take(error());
  EXPECT_THAT(picked.rest(), ElementsAre(Record(packet())));
  EXPECT_THAT(picked.rest(), IsEmpty());
}

TEST(ReplayFilter, WithoutAFilterNothingChanges) {
  ReplayFilter all(filter(""), "x");
  Packet arp = packet();
  arp.protocol = "37";
  EndRecord end;
  end.packets = 7;
  for (const Record& record : {Record(StartRecord{}), Record(arp), Record(end)})
    EXPECT_THAT(all.take(record), ElementsAre(record));
}

}  // namespace
}  // namespace pathtrace
