// SPDX-License-Identifier: GPL-2.0
#include "kernel/trace_key.h"

#include <gmock/gmock.h>

namespace pathtrace {
namespace {

TEST(TraceKeyHazard, AKernelThatHashesNoPacketsIsSafe) {
  EXPECT_EQ(trace_key_hazard({.hashes_packets = false, .hashes_by_netns = false}), "");
}

TEST(TraceKeyHazard, AKernelThatHashesByNamespaceIsSafe) {
  EXPECT_EQ(trace_key_hazard({.hashes_packets = true, .hashes_by_netns = true}), "");
}

TEST(TraceKeyHazard, AnyOtherMayWarnAndTheWayOutIsSaid) {
  const std::string why = trace_key_hazard({.hashes_packets = true, .hashes_by_netns = false});
  EXPECT_THAT(why, testing::HasSubstr("__skb_flow_dissect"));
  EXPECT_THAT(why, testing::HasSubstr("--trace-key"));
}

}  // namespace
}  // namespace pathtrace
