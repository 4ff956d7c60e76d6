// SPDX-License-Identifier: GPL-2.0
// docs/event.schema.json and docs/json.md against the writer: neither may drift from the code.
#include <gtest/gtest.h>

#include <unistd.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "random_record.h"
#include "render/output.h"

namespace pathtrace {
namespace {

using nlohmann::json;

const std::string docs = std::string(SOURCE_ROOT) + "/docs/";

std::string content(const std::string& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in) << path;
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

template <typename E>
json words() {
  json out = json::array();
  for (const auto word : Words<E>::table) out.push_back(word);
  return out;
}

TEST(Schema, ItsEnumerationsAreThoseOfTheCode) {
  const json defs = json::parse(content(docs + "event.schema.json"))["$defs"];
  const std::map<std::string, json> expected = {
      {"backend", words<Backend>()},
      {"family", words<Family>()},
      {"verdict", words<Verdict>()},
      {"stepKind", words<StepKind>()},
      {"hook", words<Hook>()},
      {"direction", words<Direction>()},
      {"origin", words<Origin>()},
      {"packetOutcome", words<PacketOutcome>()},
      {"connectionOutcome", words<ConnectionOutcome>()},
      {"causeKind", words<CauseKind>()},
      {"confidence", words<Confidence>()},
      {"probeState", words<ProbeState>()},
  };
  std::set<std::string> in_schema;
  for (const auto& def : defs.items())
    if (def.value().contains("enum")) in_schema.insert(def.key());
  for (const auto& [name, values] : expected) {
    EXPECT_EQ(defs[name]["enum"], values) << name;
    in_schema.erase(name);
  }
  EXPECT_TRUE(in_schema.empty()) << "unknown to the code: " << *in_schema.begin();
}

TEST(Schema, ThereIsAStepForEveryKind) {
  const json defs = json::parse(content(docs + "event.schema.json"))["$defs"];
  std::set<std::string> kinds;
  for (const auto& ref : defs["step"]["oneOf"]) {
    const std::string path = ref["$ref"];
    kinds.insert(defs[path.substr(path.rfind('/') + 1)]["properties"]["kind"]["const"]);
  }
  std::set<std::string> expected;
  for (const auto word : Words<StepKind>::table) expected.insert(std::string(word));
  EXPECT_EQ(kinds, expected);
}

// The numbers of the lines that don't conform, then "done".
std::string validate(const std::vector<std::string>& lines) {
  const std::string file = testing::TempDir() + "pathtrace-schema-" + std::to_string(getpid()) + ".jsonl";
  {
    std::ofstream out(file);
    for (const auto& line : lines) out << line << "\n";
  }
  const std::string command = "python3 '" SOURCE_ROOT "/tests/render/validate.py' '" + docs +
                              "event.schema.json' < '" + file + "' 2>&1";
  std::FILE* run = popen(command.c_str(), "r");  // NOLINT(cert-env33-c): a test, with a fixed command
  std::string printed;
  std::array<char, 4096> buffer{};
  while (std::size_t got = std::fread(buffer.data(), 1, buffer.size(), run))
    printed.append(buffer.data(), got);
  pclose(run);
  std::remove(file.c_str());
  return printed;
}

TEST(Schema, EveryLineOfTheWriterConforms) {
  test::RandomRecord random(8);
  std::vector<std::string> lines;
  for (int i = 0; i < 300; ++i) lines.push_back(to_json_line(random.any()));
  EXPECT_EQ(validate(lines), "done\n") << "python3-jsonschema is required";
}

TEST(Schema, ItIsStrict) {
  test::RandomRecord random(9);
  std::vector<std::string> lines;
  std::string all;
  const auto add = [&](const json& line) {
    lines.push_back(line.dump());
    all += std::to_string(lines.size()) + "\n";
  };
  for (const Record& record : {Record(random.start()), Record(random.packet()), Record(random.connection()),
                               Record(LostRecord{}), Record(random.end())}) {
    json line = json::parse(to_json_line(record));
    line["surplus"] = 1;
    add(line);
    line.erase("surplus");
    for (const auto& member : line.items()) {
      json without = line;
      without.erase(member.key());
      add(without);
    }
  }
  Connection connection;
  json line = json::parse(to_json_line(connection));
  line["cause"]["kind"] = "bad_luck";
  add(line);
  line = json::parse(to_json_line(connection));
  line["id"] = 1;
  add(line);
  EXPECT_EQ(validate(lines), all + "done\n");
}

// The examples were made by the writer: reading and writing one gives the same text.
TEST(Docs, TheExamplesOfJsonMdAreTheWritersOwn) {
  std::istringstream in(content(docs + "json.md"));
  std::set<std::string> types;
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("{\"type\"")) continue;
    const auto record = from_json_line(line);
    ASSERT_TRUE(record) << record.error().message << ": " << line;
    EXPECT_EQ(to_json_line(*record), line);
    types.insert(json::parse(line)["type"]);
  }
  EXPECT_EQ(types, (std::set<std::string>{"start", "packet", "connection", "lost", "end"}));
}

TEST(Docs, JsonMdNamesEveryMemberAndEveryWord) {
  const std::string text = content(docs + "json.md");
  const json defs = json::parse(content(docs + "event.schema.json"))["$defs"];
  for (const auto& def : defs.items()) {
    for (const auto& word : def.value().value("enum", json::array()))
      EXPECT_NE(text.find("`" + word.get<std::string>() + "`"), std::string::npos) << word;
    const json properties = def.value().value("properties", json::object());
    for (const auto& member : properties.items())
      EXPECT_NE(text.find("`" + member.key() + "`"), std::string::npos) << def.key() << "." << member.key();
  }
}

}  // namespace
}  // namespace pathtrace
