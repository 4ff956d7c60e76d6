// SPDX-License-Identifier: GPL-2.0
// The example of the README: its stream gives its packets, step by step.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "timeline/stream.h"

namespace pathtrace {
namespace {

std::string line(const Step& step) {
  std::string text = std::to_string(step.offset_ns / 1000) + " " + std::string(word(step.kind));
  if (step.table) text += " " + *step.table;
  if (step.hook) text += " " + std::string(word(*step.hook));
  if (step.chain) text += " " + *step.chain;
  if (step.rule) text += " #" + std::to_string(*step.rule);
  if (step.verdict) text += " " + std::string(word(*step.verdict));
  for (const auto& word : {step.with, step.reason, step.interface})
    if (word) text += " " + *word;
  return text;
}

std::vector<std::string> lines(const Packet& packet) {
  std::vector<std::string> all;
  all.reserve(packet.steps.size());
  for (const Step& step : packet.steps) all.push_back(line(step));
  return all;
}

TEST(Golden, RejectInUserChain) {
  const ConnectionTrace trace = stream::only(stream::reject_in_user_chain());
  EXPECT_EQ(trace.connection.client, (Endpoint{"10.0.0.9", 51514}));
  EXPECT_EQ(trace.connection.server, (Endpoint{"10.0.0.1", 80}));
  ASSERT_EQ(trace.packets.size(), 2U);

  const Packet& syn = trace.packets[0];
  EXPECT_EQ(syn.flags, "S");
  EXPECT_EQ(syn.iif, "eth0");
  EXPECT_EQ(syn.origin, Origin::wire);
  EXPECT_EQ(syn.direction, Direction::original);
  EXPECT_EQ(lines(syn), (std::vector<std::string>{
                            "0 receive eth0",
                            "0 policy raw PREROUTING PREROUTING accept",
                            "9 rule filter INPUT INPUT #2 jump",
                            "9 rule filter INPUT web #1 continue",
                            "9 rule filter INPUT web #2 reject",
                            "15 reject tcp-reset",
                            "30 drop NETFILTER_DROP",
                        }));

  const Packet& rst = trace.packets[1];
  EXPECT_EQ(rst.flags, "RA");
  EXPECT_EQ(rst.origin, Origin::reject);
  EXPECT_EQ(rst.direction, Direction::reply);
  EXPECT_EQ(rst.ts_ns - syn.ts_ns, 21 * stream::us);
  EXPECT_EQ(lines(rst),
            (std::vector<std::string>{"0 policy filter OUTPUT OUTPUT accept", "0 transmit eth0"}));

  ASSERT_EQ(trace.answers.size(), 1U);
  EXPECT_EQ(trace.answers[0].packet, syn.id);
  EXPECT_EQ(trace.answers[0].answer_packet, rst.id);
  EXPECT_EQ(trace.connection.packets, (std::vector<std::uint64_t>{syn.id, rst.id}));
}

}  // namespace
}  // namespace pathtrace
