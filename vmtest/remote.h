// SPDX-License-Identifier: GPL-2.0
#pragma once

// Makes the TUN device `name` in the caller's network namespace; its descriptor, or -1 with errno.
int open_tun(const char* name);
// Answers what comes through it, for ever: port …1 refuses by a RST, …2 accepts and resets at the first data,
// …3 is silent, …4 answers "port unreachable", …5 "administratively prohibited", …6 accepts and is silent
// from then on. TCP; UDP where it can be.
[[noreturn]] void be_remote(int tun);
