// SPDX-License-Identifier: GPL-2.0
// Lost events make those connections partial that lasted at that time, and no others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "diagnosis/hosts.h"

namespace pathtrace {
namespace {

using namespace stream;  // NOLINT(google-build-using-namespace)
using ::testing::Contains;
using ::testing::IsEmpty;

// `count` events were lost between `from` and `to`, milliseconds after the start.
Facts lost(std::uint64_t count, std::int64_t from, std::int64_t to) {
  Facts facts;
  facts.losses = LossLog(start_ns + from * ms);
  LostCounts counts{};
  counts[PT_EVENT_LEGACY_WALK] = count;
  (void)facts.losses.note(counts, start_ns + to * ms, start_ns + to * ms);
  return facts;
}

TEST(Lost, WhateverTheCause) {
  for (const Events& events :
       {handshake(), dropped_by_input_rule(), refused_by_stack(), reject_in_user_chain(),
        Events{accepted(syn().to("eth1"), 0, Hook::forward)}}) {
    const Connection whole = last_diagnosis(events);
    const Connection c = last_diagnosis(events, lost(12, -5, 5));
    EXPECT_EQ(c.outcome, whole.outcome);
    EXPECT_EQ(c.cause, whole.cause);
    EXPECT_EQ(whole.confidence, Confidence::exact);
    EXPECT_EQ(c.confidence, Confidence::partial);
    EXPECT_THAT(c.missing, Contains("12 events were lost while it lasted"));
  }
}

TEST(Lost, WhileItsAnswerWasWaitedFor) {
  const Connection c = diagnosed({accepted(syn().to("eth1"), 0, Hook::forward)}, lost(1, 1000, 1200));
  EXPECT_EQ(c.cause.kind, CauseKind::no_reply);
  EXPECT_THAT(c.missing, Contains("1 event was lost while it lasted"));
}

TEST(Lost, BeforeItBegan) {
  EXPECT_THAT(last_diagnosis(handshake(), lost(12, -900, -500)).missing, IsEmpty());
}

TEST(Lost, AfterItWasReported) {
  EXPECT_THAT(last_diagnosis(refused_by_stack(), lost(12, 700'000, 700'100)).missing, IsEmpty());
}

}  // namespace
}  // namespace pathtrace
