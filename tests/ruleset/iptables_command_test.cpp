// SPDX-License-Identifier: GPL-2.0
#include "ruleset/iptables_command.h"

#include <gtest/gtest.h>

namespace pathtrace {
namespace {

TEST(IptablesCommand, TheProgramBehindTheLinkTells) {
  EXPECT_EQ(backend_of_program("/usr/sbin/xtables-nft-multi"), Backend::iptables_nft);
  EXPECT_EQ(backend_of_program("/usr/sbin/xtables-legacy-multi"), Backend::iptables_legacy);
  EXPECT_EQ(backend_of_program("/sbin/xtables-multi"), Backend::iptables_legacy);
  EXPECT_EQ(backend_of_program("/usr/local/sbin/iptables"), std::nullopt);
  EXPECT_EQ(backend_of_program("/opt/nft/bin/wrapper"), std::nullopt);
}

TEST(IptablesCommand, OnlyWhatIptablesHas) {
  EXPECT_EQ(iptables_command(Family::ip6), "ip6tables");
  EXPECT_EQ(iptables_command(Family::inet), std::nullopt);
  EXPECT_EQ(iptables_backend(Family::bridge), std::nullopt);
}

}  // namespace
}  // namespace pathtrace
