# SPDX-License-Identifier: GPL-2.0
"""Packets of a case, as bytes from the IP header on.

A packet is known again in the witness's and in pathtrace's output by its key: the client's address, which no two flows of a boot
share, whether the client sent it, and its length, which no two packets of a flow share in one direction.
"""

import dataclasses
import ipaddress
import random
import struct

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58

# Each case has so many clients to itself; rules look at no more of a client's address than its place among them.
CLIENTS_A_CASE = 16
MOST_CASES = 4080  # in a boot, so that 10.9.255.0/24 stays free

HOST = {4: ["10.1.0.1", "10.1.0.5"], 6: ["fd01::1", "fd01::5"]}
BEHIND = {4: ["10.10.0.1", "10.10.0.2", "10.10.0.3"], 6: ["fd10::1", "fd10::2", "fd10::3"]}
PORTS = (22, 53, 80, 443, 8080, 5432)

Key = tuple[str, bool, int]  # client's address, does the client send it, length


@dataclasses.dataclass
class Packet:
    sender: str  # namespace that sends it: c (client), h (the traced host), s (behind the host)
    flow: int  # in the case
    version: int
    source: str  # "{client}" is filled in when the case gets its place in a boot
    destination: str
    protocol: int
    transport: dict
    payload: int
    hops: int = 64
    tos: int = 0
    bad_checksum: bool = False
    cut: int = 0  # the transport header ends after so many bytes, ports included
    later_fragment: bool = False  # not the first of its packet; the first never comes
    options: bool = False  # IPv6: destination options before the transport header
    socket: bool = False  # sent by an ordinary socket of h instead

    @property
    def from_client(self) -> bool:
        return self.source == "{client}"

    @property
    def broken(self) -> bool:
        return self.cut > 0

    def filled(self, client: str) -> tuple[str, str]:
        return (client, self.destination) if self.from_client else (self.source, client)

    def key(self, client: str) -> Key:
        return client, self.from_client, len(self.bytes(client))

    def bytes(self, client: str) -> bytes:
        source, destination = (ipaddress.ip_address(each).packed for each in self.filled(client))
        body = bytearray(header(self.protocol, self.transport) + bytes(65 + i % 26 for i in range(self.payload)))
        if self.protocol == UDP:
            body[4:6] = struct.pack(">H", len(body))
        place = {TCP: 16, UDP: 6}.get(self.protocol, 2)
        pseudo = b""
        if self.protocol != ICMP:
            pseudo = source + destination + struct.pack(">II", len(body), self.protocol)
        body[place : place + 2] = struct.pack(">H", checksum(pseudo + body) ^ (0x5555 if self.bad_checksum else 0))
        if self.cut:
            del body[self.cut :]
        if self.version == 6:
            protocol = self.protocol
            if self.options:
                body = bytearray(struct.pack(">BBBBI", protocol, 0, 1, 4, 0)) + body  # one PadN option
                protocol = 60
            return struct.pack(">IHBB", 6 << 28 | self.tos << 20, len(body), protocol, self.hops) + source + destination + body
        # An id, or a raw socket would choose one; don't fragment.
        start = struct.pack(">BBHHHBBH", 0x45, self.tos, 20 + len(body), 1 + self.payload, 185 if self.later_fragment else 0x4000, self.hops, self.protocol, 0)
        start = bytearray(start + source + destination)
        start[10:12] = struct.pack(">H", checksum(bytes(start)))
        return bytes(start + body)


def header(protocol: int, fields: dict) -> bytes:
    if protocol == TCP:
        options = b"\x02\x04\x05\xb4" if fields.get("mss") else b""
        return struct.pack(
            ">HHIIBBHHH", fields["sport"], fields["dport"], fields["seq"], fields["ack"], (20 + len(options)) << 2, fields["flags"], 8192, 0, 0
        ) + options  # fmt: skip
    if protocol == UDP:
        return struct.pack(">HHHH", fields["sport"], fields["dport"], 0, 0)
    return struct.pack(">BBHHH", fields["type"], fields["code"], 0, fields["id"], fields["sequence"])


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def client_address(version: int, number: int) -> str:
    return f"10.9.{number >> 8}.{number & 255}" if version == 4 else f"fd09::{number:x}"


# Random ones

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
FLAGS = [(SYN, 6), (SYN | ACK, 2), (ACK, 3), (PSH | ACK, 2), (FIN | ACK, 2), (RST, 1), (RST | ACK, 1), (FIN | PSH | URG, 1), (0, 1)]


def generate(rng: random.Random, version: int) -> list[Packet]:
    """About nine packets in up to eight flows, in the order in which they are sent."""
    packets = []
    for flow in range(rng.randint(4, 8)):
        packets += flow_packets(rng, version, flow)
    return packets


def flow_packets(rng: random.Random, version: int, flow: int) -> list[Packet]:
    way = rng.choices(["input", "forward", "output"], [5, 5, 4])[0]
    server = rng.choice(HOST[version] if way != "forward" else BEHIND[version])
    protocol = rng.choices([TCP, UDP, ICMP if version == 4 else ICMPV6], [6, 4, 2])[0]
    sport, dport = rng.randint(1024, 60000), rng.choice(PORTS)
    # Kernel-made answers have no payload: these have, and differ from each other, TCP's options (4 bytes) included.
    payloads = rng.sample(range(4, 200, 5), 4)
    common = {"version": version, "protocol": protocol, "flow": flow}
    packets: list[Packet] = []
    odd = [rng.choice(oddities(protocol, version))] if rng.random() < 0.15 else []

    def add(sender: str, source: str, destination: str, transport: dict, **more) -> None:
        hops = rng.choice([64, 64, 63, 128, 2, 33])
        packets.append(Packet(sender, source=source, destination=destination, transport=transport, payload=payloads.pop(), hops=hops,
                              tos=rng.choice([0, 0, 0, 0x10, 0x28, 0xb8]), **common, **more))  # fmt: skip
        if odd and sender == "c" and len(packets) == 1:
            odd.pop()(packets[0])

    there, back = ("h", "c") if way == "output" else ("c", "s")
    ends = (server, "{client}") if way == "output" else ("{client}", server)
    if way == "output" and rng.random() < 0.3 and protocol == UDP:
        add("h", *ends, {"sport": sport, "dport": dport}, socket=True)
    else:
        add(there, *ends, transport(rng, protocol, sport, dport), bad_checksum=rng.random() < 0.03)
    if rng.random() < 0.3:
        add(there, *ends, transport(rng, protocol, sport, dport, packets[0].transport))
    if way != "input" and rng.random() < 0.4:
        add(back, *reversed(ends), answer(rng, protocol, sport, dport, packets[0].transport))
    return packets


def oddities(protocol: int, version: int) -> list:
    """What may be done to a packet that makes matches think twice."""

    def cut(packet: Packet) -> None:
        packet.cut = {TCP: 12, UDP: 6}.get(protocol, 4)

    def later_fragment(packet: Packet) -> None:
        packet.later_fragment = True

    def options(packet: Packet) -> None:
        packet.options = True

    return [cut, later_fragment if version == 4 else options]


def transport(rng: random.Random, protocol: int, sport: int, dport: int, first: dict | None = None) -> dict:
    if protocol == TCP:
        flags = rng.choices([flags for flags, _ in FLAGS], [weight for _, weight in FLAGS])[0]
        seq = first["seq"] + 1 if first else rng.getrandbits(32) & 0x7FFFFFFF
        return {"sport": sport, "dport": dport, "flags": flags, "seq": seq, "ack": rng.getrandbits(31), "mss": bool(flags & SYN)}
    if protocol == UDP:
        return {"sport": sport, "dport": dport}
    kinds = [(8, 0), (8, 0), (8, 0), (13, 0), (0, 0), (17, 0)] if protocol == ICMP else [(128, 0), (128, 0), (128, 0), (129, 0)]
    type_, code = rng.choice(kinds)
    if first:
        return {**first, "sequence": first["sequence"] + 1}
    return {"type": type_, "code": code, "id": sport, "sequence": 1}


def answer(rng: random.Random, protocol: int, sport: int, dport: int, first: dict) -> dict:
    if protocol == TCP:
        flags = rng.choice([SYN | ACK, SYN | ACK, RST | ACK, ACK, FIN | ACK])
        seq, ack = rng.getrandbits(31), first["seq"] + 1
        return {"sport": dport, "dport": sport, "flags": flags, "seq": seq, "ack": ack, "mss": False}
    if protocol == UDP:
        return {"sport": dport, "dport": sport}
    echo = {8: 0, 13: 14, 17: 18, 128: 129}
    return {**first, "type": echo.get(first["type"], first["type"])}
