// SPDX-License-Identifier: GPL-2.0
// Structure, listing and save are three questions; the ruleset's generation (NFT_MSG_GETGEN)
// is asked before and after, and everything is read again if it moved.
#include "ruleset/nft_snapshot.h"

#include <fmt/format.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "ruleset/iptables_command.h"
#include "ruleset/nft_lookups.h"
#include "ruleset/nft_netlink.h"
#include "ruleset/nft_sets.h"
#include "ruleset/nft_text.h"
#include "ruleset/tool.h"

namespace pathtrace::nft {
namespace {

constexpr int kAttempts = 5;

// A function in the symbol table.
bool has_symbol(std::string_view symbol) {
  std::ifstream file("/proc/kallsyms");
  std::string line;
  while (std::getline(file, line)) {
    const std::size_t at = line.rfind(' ');
    if (std::string_view(line).substr(at + 1).starts_with(symbol) &&
        (line.size() - at - 1 == symbol.size() || line[at + 1 + symbol.size()] == '\t'))
      return true;
  }
  return false;
}

// Whether code that is no loaded module is in the kernel itself: by the list that is installed
// with it or, where there is none (in a container), by one of its functions. The symbol table
// is long: nobody reads it for nothing.
bool is_built_in(std::string_view module, std::string_view symbol) {
  utsname kernel{};
  if (::uname(&kernel) == 0) {
    std::ifstream file(
        fmt::format("/lib/modules/{}/modules.builtin", static_cast<const char*>(kernel.release)));
    if (file) {
      const std::string object = fmt::format("/{}.ko", module);
      std::string line;
      while (std::getline(file, line))
        if (line.ends_with(object)) return true;
      return false;
    }
  }
  return has_symbol(symbol);
}

// Userdata is a row of type, length, value; type 0 is the comment (NFTNL_UDATA_RULE_COMMENT).
std::optional<std::string> userdata_comment(const nlattr* attribute) {
  if (attribute == nullptr) return std::nullopt;
  std::string_view data(static_cast<const char*>(mnl_attr_get_payload(attribute)),
                        mnl_attr_get_payload_len(attribute));
  while (data.size() >= 2) {
    const auto length = static_cast<unsigned char>(data[1]);
    if (data.size() - 2 < length) break;
    const std::string_view value = data.substr(2, length);
    if (data[0] == 0) return std::string(value.substr(0, value.find('\0')));
    data.remove_prefix(2U + length);
  }
  return std::nullopt;
}

// xt_comment's info is the text itself.
std::optional<std::string> match_comment(const Attributes& match) {
  if (match.string(NFTA_MATCH_NAME) != "comment") return std::nullopt;
  return match.string(NFTA_MATCH_INFO);
}

std::string verdict_name(const Attributes& immediate) {
  const Attributes data(immediate.get(NFTA_IMMEDIATE_DATA));
  const Attributes verdict(data.get(NFTA_DATA_VERDICT));
  switch (static_cast<std::int32_t>(verdict.u32(NFTA_VERDICT_CODE).value_or(0))) {
    case 0:
      return "DROP";
    case 1:
      return "ACCEPT";
    case NFT_RETURN:
      return "RETURN";
    case NFT_JUMP:
    case NFT_GOTO:
      return verdict.string(NFTA_VERDICT_CHAIN);
    default:
      return {};
  }
}

// Whether what a set's elements or their updates carry only ever breaks off the rule.
bool is_harmless_state(const nlattr* expression) {
  if (expression == nullptr) return true;
  const std::string name = Attributes(expression).string(NFTA_EXPR_NAME);
  return name == "counter" || name == "limit" || name == "quota" || name == "last";
}

bool is_harmless_dynset(const Attributes& data) {
  bool harmless = is_harmless_state(data.get(NFTA_DYNSET_EXPR));
  each_nested(data.get(NFTA_DYNSET_EXPRESSIONS),
              [&](const nlattr* one) { harmless = harmless && is_harmless_state(one); });
  return harmless;
}

// Whether an expression can end a walk or lead it to another chain. All others leave the verdict register at
// NFT_CONTINUE or NFT_BREAK (their eval functions in net/netfilter/nft_*.c).
bool may_end(std::string_view name, const Attributes& data) {
  static constexpr auto harmless = std::to_array<std::string_view>(
      {"payload", "meta",      "cmp",     "bitwise", "counter", "ct",     "limit",        "log",
       "range",   "byteorder", "fib",     "numgen",  "hash",    "rt",     "socket",       "osf",
       "last",    "quota",     "notrack", "tproxy",  "xfrm",    "tunnel", "flow_offload", "dup"});
  if (name == "immediate") return data.u32(NFTA_IMMEDIATE_DREG).value_or(0) == NFT_REG_VERDICT;
  if (name == "lookup") return data.u32(NFTA_LOOKUP_DREG).value_or(NFT_REG_1) == NFT_REG_VERDICT;
  if (name == "dynset") return !is_harmless_dynset(data);
  if (name == "match") return true;  // by hotdrop: a packet too broken to be matched, a table without room
  return std::find(harmless.begin(), harmless.end(), name) == harmless.end();
}

// supported_exprs[] of iptables/nft.c, and log and limit as it writes them.
bool iptables_writes(std::string_view name) {
  static constexpr std::array<std::string_view, 12> supported{"match",  "target",  "payload", "meta",
                                                              "cmp",    "bitwise", "counter", "immediate",
                                                              "lookup", "range",   "log",     "limit"};
  return std::find(supported.begin(), supported.end(), name) != supported.end();
}

void read_expressions(Rule& rule, const nlattr* list) {
  bool counter = false;
  bool only_iptables = true;
  bool earlier_may_end = false;
  each_nested(list, [&](const nlattr* element) {
    const Attributes expression(element);
    const std::string name = expression.string(NFTA_EXPR_NAME);
    const Attributes data(expression.get(NFTA_EXPR_DATA));
    counter = counter || name == "counter";
    only_iptables = only_iptables && iptables_writes(name);
    rule.compat = rule.compat || name == "match" || name == "target";
    if (name == "dynset") rule.updates.push_back(data.string(NFTA_DYNSET_SET_NAME));
    if (name == "target") rule.target = data.string(NFTA_TARGET_NAME);
    if (name == "match" && !rule.comment) rule.comment = match_comment(data);
    if (name == "immediate" && data.u32(NFTA_IMMEDIATE_DREG).value_or(0) == NFT_REG_VERDICT)
      if (std::string verdict = verdict_name(data); !verdict.empty()) rule.verdict = verdict;
    rule.rejects = !earlier_may_end && (name == "reject" || (name == "target" && rule.target == "REJECT"));
    rule.changes_looked_up = rule.changes_looked_up || changes_looked_up(name, data);
    if (!may_end(name, data)) return;
    earlier_may_end = earlier_may_end || name != "match";  // rare, and it drops
    rule.ends.push_back(name);
  });
  rule.iptables_like = counter && only_iptables;
  rule.lookups = read_lookups(list);
}

class Reader {
 public:
  explicit Reader(Socket& socket) : socket_(socket) {}

  // nullopt: errno tells why.
  std::optional<std::uint32_t> generation() {
    std::optional<std::uint32_t> id;
    if (!socket_.ask({.message = NFT_MSG_GETGEN},
                     [&](const nlmsghdr* message) { id = Attributes(message).u32(NFTA_GEN_ID); }))
      return std::nullopt;
    return id;
  }

  bool structure(Ruleset& ruleset) {
    tables_.clear();
    return socket_.ask({.message = NFT_MSG_GETTABLE, .dump = true}, [&](const nlmsghdr* m) {
      add_table(ruleset, m);
    }) && socket_.ask({.message = NFT_MSG_GETCHAIN, .dump = true}, [&](const nlmsghdr* m) {
      add_chain(ruleset, m);
    }) && socket_.ask({.message = NFT_MSG_GETRULE, .dump = true}, [&](const nlmsghdr* m) {
      add_rule(ruleset, m);
    });
  }

 private:
  struct Where {
    std::size_t table;
    std::unordered_map<std::string, std::size_t> chains;
  };

  static std::string key(Family family, const std::string& table) {
    return std::string(word(family)) + " " + table;
  }

  Where* where(const nlmsghdr* message, const std::string& table) {
    const auto family = message_family(message);
    const auto it = family ? tables_.find(key(*family, table)) : tables_.end();
    return it == tables_.end() ? nullptr : &it->second;
  }

  void add_table(Ruleset& ruleset, const nlmsghdr* message) {
    const auto family = message_family(message);
    const Attributes attributes(message);
    if (!family) return;
    Table table;
    table.family = *family;
    table.name = attributes.string(NFTA_TABLE_NAME);
    table.handle = attributes.u64(NFTA_TABLE_HANDLE);
    tables_[key(*family, table.name)] = {ruleset.tables.size(), {}};
    ruleset.tables.push_back(std::move(table));
  }

  void add_chain(Ruleset& ruleset, const nlmsghdr* message) {
    const Attributes attributes(message);
    Where* at = where(message, attributes.string(NFTA_CHAIN_TABLE));
    if (at == nullptr) return;
    Table& table = ruleset.tables[at->table];
    Chain chain;
    chain.name = attributes.string(NFTA_CHAIN_NAME);
    chain.handle = attributes.u64(NFTA_CHAIN_HANDLE);
    if (const nlattr* nest = attributes.get(NFTA_CHAIN_HOOK)) {
      const Attributes hook(nest);
      chain.hook = Hooked{hook.u32(NFTA_HOOK_HOOKNUM).value_or(~0U),
                          static_cast<std::int32_t>(hook.u32(NFTA_HOOK_PRIORITY).value_or(0)),
                          attributes.string(NFTA_CHAIN_TYPE), attributes.u32(NFTA_CHAIN_POLICY)};
    }
    at->chains[chain.name] = table.chains.size();
    table.chains.push_back(std::move(chain));
  }

  void add_rule(Ruleset& ruleset, const nlmsghdr* message) {
    const Attributes attributes(message);
    Where* at = where(message, attributes.string(NFTA_RULE_TABLE));
    if (at == nullptr) return;
    const auto it = at->chains.find(attributes.string(NFTA_RULE_CHAIN));
    if (it == at->chains.end()) return;
    Chain& chain = ruleset.tables[at->table].chains[it->second];
    Rule rule;
    rule.handle = attributes.u64(NFTA_RULE_HANDLE);
    rule.number = static_cast<int>(chain.rules.size()) + 1;
    rule.comment = userdata_comment(attributes.get(NFTA_RULE_USERDATA));
    read_expressions(rule, attributes.get(NFTA_RULE_EXPRESSIONS));
    chain.rules.push_back(std::move(rule));
  }

  Socket& socket_;
  std::unordered_map<std::string, Where> tables_;
};

// As `nft -a -s -t list ruleset` prints it. Without the elements of named sets: no rule has
// them in its text, and there can be very many.
std::string listing() {
  struct Free {
    void operator()(nft_ctx* context) const { nft_ctx_free(context); }
  };
  const std::unique_ptr<nft_ctx, Free> context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context || nft_ctx_buffer_output(context.get()) != 0 || nft_ctx_buffer_error(context.get()) != 0)
    return {};
  nft_ctx_output_set_flags(context.get(),
                           NFT_CTX_OUTPUT_HANDLE | NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_TERSE);
  if (nft_run_cmd_from_buffer(context.get(), "list ruleset") != 0) return {};
  const char* text = nft_ctx_get_output_buffer(context.get());
  return text == nullptr ? std::string{} : std::string(text);
}

bool has_rules(const Table& table) {
  return std::any_of(table.chains.begin(), table.chains.end(),
                     [](const Chain& chain) { return !chain.rules.empty(); });
}

// iptables-nft asks the kernel which revisions of its extensions it has, which would load
// nft_compat: only run it where that is there already.
bool compat_present(const Ruleset& ruleset) {
  for (const Table& table : ruleset.tables)
    for (const Chain& chain : table.chains)
      for (const Rule& rule : chain.rules)
        if (rule.compat) return true;
  if (::access("/sys/module/nft_compat", F_OK) == 0) return true;
  static const bool built_in = is_built_in("nft_compat", "nft_target_select_ops");
  return built_in;
}

std::optional<std::string> save(const Table& table) {
  struct Tools {
    const char* name;
    const char* either;  // a link to xtables-nft-multi or to xtables-legacy-multi
  };
  const Tools tools = table.family == Family::ip6   ? Tools{"ip6tables-nft-save", "ip6tables-save"}
                      : table.family == Family::arp ? Tools{"arptables-nft-save", "arptables-save"}
                                                    : Tools{"iptables-nft-save", "iptables-save"};
  for (const char* name : {tools.name, tools.either}) {
    const auto path = find_tool(name);
    if (!path) continue;
    const auto program = real_path(*path);
    if (!program || backend_of_program(*program) != Backend::iptables_nft) continue;
    if (table.family == Family::arp) return run_tool({*path});
    return run_tool({*path, "-t", table.name});
  }
  return std::nullopt;
}

void add_all_text(Ruleset& ruleset) {
  if (!std::any_of(ruleset.tables.begin(), ruleset.tables.end(), has_rules)) return;
  add_text(ruleset, listing());
  if (!compat_present(ruleset)) return;
  for (Table& table : ruleset.tables) {
    if (table.backend != Backend::iptables_nft || !has_rules(table)) continue;
    if (const auto saved = save(table)) add_saved_text(table, *saved);
  }
}

}  // namespace

bool present() {
  if (::access("/sys/module/nf_tables", F_OK) == 0) return true;
  static const bool built_in = is_built_in("nf_tables", "nft_do_chain");
  return built_in;
}

Result<Ruleset> read_ruleset() {
  if (!present()) return Ruleset{};
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    // of its own: what is left of a dump that was interrupted comes before the next answer
    Socket socket;
    if (!socket) break;
    Reader reader(socket);
    const auto before = reader.generation();
    if (!before) break;
    Ruleset ruleset;
    ruleset.id = *before;
    if (!reader.structure(ruleset)) {
      if (errno == EINTR) continue;
      break;
    }
    if (!read_sets(socket, ruleset)) {
      if (errno == EINTR) continue;
      break;
    }
    for (Table& table : ruleset.tables) table.backend = maker(table);
    add_all_text(ruleset);
    if (reader.generation() == before) return ruleset;
    errno = EAGAIN;
  }
  return Error{
      ExitStatus::failure, fmt::format("nftables: reading the ruleset: {}", std::strerror(errno)), {}};
}

}  // namespace pathtrace::nft
