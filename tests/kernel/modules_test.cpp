// SPDX-License-Identifier: GPL-2.0
#include "kernel/modules.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace pathtrace {
namespace {

class Modules : public testing::Test {
 protected:
  Modules() : root_(std::filesystem::temp_directory_path() / ("modules." + std::to_string(getpid()))) {
    std::filesystem::create_directories(root_);
  }
  ~Modules() override { std::filesystem::remove_all(root_); }
  void add(const std::string& name, bool loaded) const {
    std::filesystem::create_directories(root_ / name);
    if (loaded) std::ofstream(root_ / name / "initstate") << "live\n";
  }
  [[nodiscard]] bool is_loaded(const std::string& name) const {
    return loaded_module(name, root_).has_value();
  }

 private:
  const std::filesystem::path root_;
};

TEST_F(Modules, OnlyWhatWasLoadedIsLoaded) {
  add("ip_tables", true);
  add("tcp_cubic", false);  // built in, with parameters
  EXPECT_TRUE(is_loaded("ip_tables"));
  EXPECT_FALSE(is_loaded("tcp_cubic"));
  EXPECT_FALSE(is_loaded("nf_tables"));
  EXPECT_FALSE(is_loaded(""));
}

}  // namespace
}  // namespace pathtrace
