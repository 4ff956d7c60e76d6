// SPDX-License-Identifier: GPL-2.0
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "random_record.h"
#include "render/output.h"
#include "render/utf8.h"

namespace pathtrace {
namespace {

using nlohmann::json;
using test::RandomRecord;

std::string error_of(const std::string& line) {
  const auto record = from_json_line(line);
  return record ? "" : record.error().message;
}

TEST(Json, EveryRecordSurvivesTheRoundTrip) {
  RandomRecord random(1);
  for (int i = 0; i < 5000; ++i) {
    const Record record = random.any();
    const std::string line = to_json_line(record);
    const auto back = from_json_line(line);
    ASSERT_TRUE(back) << back.error().message << "\n" << line;
    ASSERT_EQ(*back, record) << line;
    ASSERT_EQ(to_json_line(*back), line);
  }
}

TEST(Json, ALineIsOneLineAndNothingInItMovesATerminal) {
  RandomRecord random(2);
  for (int i = 0; i < 2000; ++i) {
    std::string line = to_json_line(random.any());
    for (std::string_view rest = line; !rest.empty();) {
      const Utf8Char c = first_char(rest);
      ASSERT_GT(c.length, 0U) << line;
      ASSERT_FALSE(is_control(c.code)) << line;
      rest.remove_prefix(c.length);
    }
  }
}

TEST(Json, InvalidUtf8IsShownAsTheSanitiserShowsIt) {
  LostRecord lost{1, 2, "a\xff\xc0\x80z"};
  const json line = json::parse(to_json_line(lost));
  EXPECT_EQ(line["where"], "a\\xff\\xc0\\x80z");
}

TEST(Json, IdsAreStringsTimesAreNumbersAbsentIsNull) {
  Packet packet;
  packet.id = 18446744073709551615U;
  packet.connection = 7;
  packet.ts_ns = 1700000000123456789;
  packet.protocol = "icmp";
  packet.source.address = "10.0.0.9";
  Step step;
  step.backend = Backend::nftables;
  step.handle = 18446744073709551615U;
  packet.steps = {step};
  const json line = json::parse(to_json_line(packet));
  EXPECT_EQ(line["id"], "18446744073709551615");
  EXPECT_EQ(line["connection"], "7");
  EXPECT_EQ(line["ts_ns"], 1700000000123456789);
  EXPECT_EQ(line["steps"][0]["handle"], "18446744073709551615");
  for (const char* name : {"sport", "dport", "flags", "length", "iif", "oif", "origin"})
    EXPECT_TRUE(line.at(name).is_null()) << name;
  EXPECT_TRUE(line["netns"].at("name").is_null());
}

TEST(Json, MembersOfOtherKindsAreLeftOut) {
  Packet packet;
  Step policy;
  policy.kind = StepKind::policy;
  policy.rule = 3;
  policy.with = "tcp-reset";
  policy.path = {{"INPUT", 1}};
  packet.steps = {policy};
  const json step = json::parse(to_json_line(packet))["steps"][0];
  EXPECT_EQ(step, json::parse(R"({"offset_ns":0,"kind":"policy","backend":null,"family":null,"table":null,
    "chain":null,"hook":null,"verdict":null,"missing":null})"));
}

TEST(Json, OnlyTheDecidingRuleCarriesItsPath) {
  Step rule;
  rule.path = {{"INPUT", 2}};
  Packet packet;
  packet.steps = {rule};
  EXPECT_FALSE(json::parse(to_json_line(packet))["steps"][0].contains("path"));
  Connection connection;
  connection.cause.rule = rule;
  EXPECT_EQ(json::parse(to_json_line(connection))["cause"]["rule"]["path"],
            json::parse(R"([{"chain":"INPUT","rule":2}])"));
}

TEST(Json, WhatIsWrongIsNamed) {
  const std::string lost = to_json_line(LostRecord{1, 2, "ring buffer"});
  EXPECT_EQ(error_of(""), "is not JSON");
  EXPECT_EQ(error_of("[1]"), "is not a JSON object");
  EXPECT_EQ(error_of("{}"), "\"type\" is missing");
  EXPECT_EQ(error_of(R"({"type":"x\u001b[m"})"), "\"type\" has the unknown word \"x\\x1b[m\"");
  EXPECT_EQ(error_of(R"({"type":"lost","count":1,"since_ns":2})"), "\"where\" is missing");
  EXPECT_EQ(error_of(R"({"type":"lost","count":-1,"since_ns":2,"where":""})"), "\"count\" is out of range");
  EXPECT_EQ(error_of(R"({"type":"lost","count":1.5,"since_ns":2,"where":""})"),
            "\"count\" is not a whole number");
  EXPECT_EQ(error_of(R"({"type":"lost","count":1,"since_ns":9223372036854775808,"where":""})"),
            "\"since_ns\" is out of range");
  EXPECT_EQ(error_of(R"({"type":"start","schema":2})"), "\"schema\" is 2, this pathtrace reads schema 1");
  EXPECT_EQ(error_of(lost), "");
}

TEST(Json, ANestedErrorIsNamedWithItsPath) {
  Packet packet;
  packet.steps.resize(2);
  packet.steps[1].verdict = Verdict::accept;
  json line = json::parse(to_json_line(packet));
  line["steps"][1]["verdict"] = "accpt";
  EXPECT_EQ(error_of(line.dump()), "\"steps[1].verdict\" has the unknown word \"accpt\"");
  line["steps"] = "none";
  EXPECT_EQ(error_of(line.dump()), "\"steps\" is not an array");
  Connection connection;
  line = json::parse(to_json_line(connection));
  line["packets"] = {"18446744073709551616"};
  EXPECT_EQ(error_of(line.dump()), "\"packets[0]\" is not a 64-bit id");
}

TEST(Json, EveryMemberIsRequired) {
  RandomRecord random(3);
  for (const Record& record : {Record(random.start()), Record(random.packet()), Record(random.connection()),
                               Record(LostRecord{}), Record(random.end())}) {
    const json line = json::parse(to_json_line(record));
    for (const auto& member : line.items()) {
      json without = line;
      without.erase(member.key());
      EXPECT_EQ(error_of(without.dump()), "\"" + member.key() + "\" is missing");
    }
  }
}

TEST(Json, UnknownMembersAreIgnored) {
  json line = json::parse(to_json_line(LostRecord{1, 2, "x"}));
  line["later"] = {{"a", 1}};
  EXPECT_EQ(error_of(line.dump()), "");
}

TEST(Json, DeepNestingIsRefusedWithoutBeingFollowed) {
  EXPECT_EQ(error_of(std::string(1'000'000, '[')), "is nested too deeply");
  EXPECT_EQ(error_of(R"({"type":"lost","x":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}"),
            "is nested too deeply");
}

// Mutations of real lines and plain noise: an answer or an error, never a crash (run under ASan).
TEST(Json, GarbageIsAnErrorNeverACrash) {
  RandomRecord random(4);
  int refused = 0;
  for (int i = 0; i < 8000; ++i) {
    std::string line = i % 8 == 0 ? std::string() : to_json_line(random.any());
    if (line.empty())
      for (std::size_t n = random.below(200); n > 0; --n) line += static_cast<char>(random.below(256));
    for (std::size_t n = 1 + random.below(4); n > 0 && !line.empty(); --n) {
      const std::size_t at = random.below(line.size());
      if (random.below(3) == 0)
        line.resize(at);
      else if (random.below(2) == 0)
        line[at] = static_cast<char>(random.below(256));
      else
        line.erase(at, random.below(20));
    }
    const auto record = from_json_line(line);
    if (record) continue;
    ++refused;
    EXPECT_EQ(record.error().status, ExitStatus::input_failed);
    EXPECT_EQ(sanitise(record.error().message), record.error().message);
  }
  EXPECT_GT(refused, 4000);
}

}  // namespace
}  // namespace pathtrace
