// SPDX-License-Identifier: GPL-2.0
#include "ruleset/nft_elements.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <array>

namespace pathtrace::nft {
namespace {

const KeyPart saddr{Field::saddr, 4, AF_INET};
const KeyPart saddr6{Field::saddr, 16, AF_INET6};
const KeyPart dport{Field::dport, 2, 0};
const KeyPart protocol{Field::protocol, 1, 0};

std::string address(const char* text) {
  std::array<char, 16> bytes{};
  const bool ipv6 = std::string(text).find(':') != std::string::npos;
  EXPECT_EQ(::inet_pton(ipv6 ? AF_INET6 : AF_INET, text, bytes.data()), 1);
  return {bytes.data(), ipv6 ? 16U : 4U};
}

std::string port(unsigned number) {
  return {static_cast<char>(number >> 8), static_cast<char>(number & 255)};
}

pt_event packet(const char* source, std::uint16_t to, std::uint8_t carries = IPPROTO_TCP) {
  pt_event event{};
  const std::string bytes = address(source);
  event.flow.family = bytes.size() == 4 ? AF_INET : AF_INET6;
  std::copy(bytes.begin(), bytes.end(), std::begin(event.flow.saddr));
  event.flow.protocol = carries;
  event.flow.dport = to;
  return event;
}

Set set_of(std::size_t key_length, std::vector<Element> elements, bool interval = false) {
  Set set;
  set.name = "some";
  set.interval = interval;
  set.key_length = key_length;
  set.whole = true;
  set.elements = std::move(elements);
  return set;
}

// As the kernel keeps 10.0.0.0/8 and 192.0.2.1-192.0.2.9.
Set intervals() {
  return set_of(4,
                {{address("192.0.2.10"), "", true, false},
                 {address("192.0.2.1"), "", false, false},
                 {address("11.0.0.0"), "", true, false},
                 {address("10.0.0.0"), "", false, false},
                 {address("0.0.0.0"), "", true, false}},
                true);
}

TEST(NftElements, OfAPlainSet) {
  const Set set = set_of(2, {{port(22), "", false, false}, {port(80), "", false, false}});
  EXPECT_EQ(find_element({"some", {dport}}, set, packet("10.0.0.1", 80)), "80");
  EXPECT_EQ(find_element({"some", {dport}}, set, packet("10.0.0.1", 81)), std::nullopt);
}

TEST(NftElements, OfIntervals) {
  const Lookup lookup{"some", {saddr}};
  EXPECT_EQ(find_element(lookup, intervals(), packet("10.1.2.3", 80)), "10.0.0.0/8");
  EXPECT_EQ(find_element(lookup, intervals(), packet("10.255.255.255", 80)), "10.0.0.0/8");
  EXPECT_EQ(find_element(lookup, intervals(), packet("192.0.2.1", 80)), "192.0.2.1-192.0.2.9");
  EXPECT_EQ(find_element(lookup, intervals(), packet("192.0.2.9", 80)), "192.0.2.1-192.0.2.9");
  EXPECT_EQ(find_element(lookup, intervals(), packet("11.0.0.0", 80)), std::nullopt);
  EXPECT_EQ(find_element(lookup, intervals(), packet("9.255.255.255", 80)), std::nullopt);
  EXPECT_EQ(find_element(lookup, intervals(), packet("192.0.2.10", 80)), std::nullopt);
}

TEST(NftElements, WhereOneIntervalEndsAndTheNextBegins) {
  const Set set = set_of(2,
                         {{port(80), "", false, false},
                          {port(90), "", true, false},
                          {port(90), "", false, false},
                          {port(100), "", true, false}},
                         true);
  EXPECT_EQ(find_element({"some", {dport}}, set, packet("10.0.0.1", 89)), "80-89");
  EXPECT_EQ(find_element({"some", {dport}}, set, packet("10.0.0.1", 90)), "90-99");
}

TEST(NftElements, AnIntervalUpToTheLargestKeyHasNoEnd) {
  const Set set = set_of(2, {{port(60000), "", false, false}}, true);
  EXPECT_EQ(find_element({"some", {dport}}, set, packet("10.0.0.1", 65535)), "60000-65535");
}

TEST(NftElements, OfAConcatenation) {
  const std::string first = address("10.0.0.0") + port(80) + std::string(2, '\0');
  const std::string last = address("10.0.0.255") + port(443) + std::string(2, '\0');
  const Set set = set_of(8, {{first, last, false, false}}, true);
  const Lookup lookup{"some", {saddr, dport}};
  EXPECT_EQ(find_element(lookup, set, packet("10.0.0.7", 100)), "10.0.0.0/24 . 80-443");
  // each part is a range of its own
  EXPECT_EQ(find_element(lookup, set, packet("10.0.0.7", 79)), std::nullopt);
  EXPECT_EQ(find_element(lookup, set, packet("10.0.1.0", 100)), std::nullopt);
}

TEST(NftElements, OfIpv6AndProtocols) {
  const Set addresses =
      set_of(16, {{address("2001:db8::"), "", false, false}, {address("2001:db9::"), "", true, false}}, true);
  EXPECT_EQ(find_element({"some", {saddr6}}, addresses, packet("2001:db8::7", 80)), "2001:db8::/32");
  const Set protocols = set_of(1, {{std::string(1, IPPROTO_UDP), "", false, false}});
  EXPECT_EQ(find_element({"some", {protocol}}, protocols, packet("10.0.0.1", 53, IPPROTO_UDP)), "udp");
}

TEST(NftElements, TheCatchAllIsWhatNoOtherHolds) {
  Set set = intervals();
  set.elements.push_back({"", "", false, true});
  EXPECT_EQ(find_element({"some", {saddr}}, set, packet("8.8.8.8", 80)), "*");
  EXPECT_EQ(find_element({"some", {saddr}}, set, packet("10.0.0.1", 80)), "10.0.0.0/8");
}

TEST(NftElements, NothingIsGuessed) {
  const Lookup lookup{"some", {saddr}};
  const pt_event ours = packet("10.1.2.3", 80);
  ASSERT_TRUE(find_element(lookup, intervals(), ours));
  Set set = intervals();
  set.changes = true;
  EXPECT_FALSE(find_element(lookup, set, ours));
  set = intervals();
  set.whole = false;
  EXPECT_FALSE(find_element(lookup, set, ours));
  set = intervals();
  set.key_length = 8;  // the rest of the key is not known
  EXPECT_FALSE(find_element(lookup, set, ours));
  EXPECT_FALSE(find_element({"some", {}}, intervals(), ours));
  EXPECT_FALSE(find_element({"some", {saddr6}}, intervals(), ours));
  pt_event error = ours;
  error.flags = PT_FLAG_ICMP_ERROR;  // the flow is the quoted packet's
  EXPECT_FALSE(find_element(lookup, intervals(), error));
  const Set ports = set_of(2, {{port(0), "", false, false}});
  EXPECT_FALSE(find_element({"some", {dport}}, ports, packet("10.0.0.1", 0, IPPROTO_ICMP)));
  pt_event fragment = packet("10.0.0.1", 0);
  fragment.flags = PT_FLAG_FRAGMENT;
  EXPECT_FALSE(find_element({"some", {dport}}, ports, fragment));
}

}  // namespace
}  // namespace pathtrace::nft
