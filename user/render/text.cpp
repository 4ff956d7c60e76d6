// SPDX-License-Identifier: GPL-2.0
// The text view's sink: packets wait for the connection they belong to, for it is told as one
// block. What waits, and what is remembered of connections already shown, is bounded: a flood
// may cost details, never memory.
#include <deque>
#include <list>
#include <unordered_map>

#include "render/output.h"
#include "render/text_block.h"
#include "render/write.h"

namespace pathtrace {
namespace {

constexpr std::size_t most_waiting = 65536;     // packets, of all connections
constexpr std::size_t most_remembered = 65536;  // connections shown before

class TextSink final : public Sink {
 public:
  TextSink(std::FILE* out, TextOptions options) : out_(out), style_(options) {}

  Result<void> write(const Record& record) override {
    return std::visit([this](const auto& one) { return take(one); }, record);
  }
  Result<void> flush() override { return flush_text(out_); }
  Result<void> finish() override;

 private:
  struct Waiting {
    std::vector<Packet> packets;
    std::size_t discarded = 0;
    std::list<std::uint64_t>::iterator place;  // in order_
  };

  Result<void> take(const StartRecord& start);
  Result<void> take(const Packet& packet);
  Result<void> take(const Connection& connection);
  Result<void> take(const LostRecord& lost);
  Result<void> take(const EndRecord& end);
  Result<void> print_rest();

  void discard_oldest();
  Waiting take_waiting(std::uint64_t id);
  Told& told_of(std::uint64_t id, std::int64_t start_ns);
  Result<void> print(const std::string& block) { return write_text(out_, "\n" + block); }

  std::FILE* out_;
  Style style_;
  std::unordered_map<std::uint64_t, Waiting> waiting_;
  std::list<std::uint64_t> order_;  // ids in waiting_, the oldest first
  std::size_t n_waiting_ = 0;
  std::size_t unaccounted_ = 0;  // packets discarded that no connection's block will mention
  std::unordered_map<std::uint64_t, Told> shown_;
  std::deque<std::uint64_t> shown_order_;
};

Result<void> TextSink::take(const StartRecord& /*start*/) { return {}; }

Result<void> TextSink::take(const Packet& packet) {
  while (n_waiting_ >= most_waiting) discard_oldest();
  const auto [found, added] = waiting_.try_emplace(packet.connection);
  if (added) found->second.place = order_.insert(order_.end(), packet.connection);
  found->second.packets.push_back(packet);
  ++n_waiting_;
  return {};
}

// The packets of the connection that waited longest; their number is kept, for the block to say so,
// until there are too many such numbers, too.
void TextSink::discard_oldest() {
  const std::uint64_t id = order_.front();
  Waiting oldest = take_waiting(id);
  oldest.discarded += oldest.packets.size();
  if (oldest.packets.empty() || waiting_.size() >= most_waiting) {
    unaccounted_ += oldest.discarded;
    return;
  }
  oldest.packets.clear();
  oldest.place = order_.insert(order_.end(), id);
  waiting_.emplace(id, std::move(oldest));
}

TextSink::Waiting TextSink::take_waiting(std::uint64_t id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return {};
  Waiting out = std::move(found->second);
  waiting_.erase(found);
  order_.erase(out.place);
  n_waiting_ -= out.packets.size();
  return out;
}

// `start_ns` if it was not shown before. Valid until the next call.
Told& TextSink::told_of(std::uint64_t id, std::int64_t start_ns) {
  const auto [found, added] = shown_.try_emplace(id);
  if (!added) return found->second;
  found->second.start_ns = start_ns;
  shown_order_.push_back(id);
  if (shown_order_.size() > most_remembered) {
    shown_.erase(shown_order_.front());
    shown_order_.pop_front();
  }
  return found->second;
}

Result<void> TextSink::take(const Connection& connection) {
  Waiting waiting = take_waiting(connection.id);
  Told& told =
      told_of(connection.id, waiting.packets.empty() ? connection.started_ns : waiting.packets.front().ts_ns);
  if (waiting.discarded == 0) return print(connection_block(connection, waiting.packets, told, style_));
  Connection with_note = connection;
  with_note.missing.push_back(std::to_string(waiting.discarded) + " packets: too many waited to be shown");
  return print(connection_block(with_note, waiting.packets, told, style_));
}

Result<void> TextSink::take(const LostRecord& lost) {
  return print("LOST " + std::to_string(lost.count) + " events (" + sanitise(lost.where) +
               "): connections shown from here on may lack packets\n");
}

Result<void> TextSink::take(const EndRecord& /*end*/) { return {}; }

Result<void> TextSink::finish() {
  if (auto printed = print_rest(); !printed) return printed;
  return flush();
}

Result<void> TextSink::print_rest() {
  while (!order_.empty()) {
    const Waiting waiting = take_waiting(order_.front());
    unaccounted_ += waiting.discarded;
    if (waiting.packets.empty()) continue;
    if (auto result = print(unfinished_block(waiting.packets, style_)); !result) return result;
  }
  if (unaccounted_ == 0) return {};
  return print("LOST " + std::to_string(unaccounted_) +
               " packets (this view): too many waited for their connection; --json shows them all\n");
}

}  // namespace

std::unique_ptr<Sink> make_text_sink(std::FILE* out, TextOptions options) {
  return std::make_unique<TextSink>(out, options);
}

}  // namespace pathtrace
