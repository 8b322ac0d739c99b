-- SPDX-License-Identifier: GPL-2.0 OR MIT
--
-- Wireshark shows Homa's packets, plain and sealed, as docs/wire.md describes them. Use it with
--
--     wireshark -X lua_script:tools/wireshark/homa.lua       (tshark the same; not as root: then they load no scripts)
--
-- or copy it to the folder of personal plugins (Help, About, Folders).
--
-- Of a sealed packet it shows what is in clear: id, place, which records it has parts of, key epoch. Wireshark's Lua
-- has no AES, so records stay closed.

local homa = Proto("homa", "Homa Transport Protocol")

-- Types and the lengths of their headers, plain. Sealed ones are 0x10 higher, and their control packets have 24 bytes
-- more and end with the header.
local TYPES, LENGTH = {}, {}
for i, kind in ipairs {
	{ "DATA", 56 }, { "GRANT", 33 }, { "RESEND", 37 }, { "UNKNOWN", 28 }, { "BUSY", 28 }, { "CUTOFFS", 62 },
	{ "FREEZE", 28 }, { "NEED_ACK", 28 }, { "ACK", 80 },
} do
	TYPES[0x0f + i], LENGTH[0x0f + i] = kind[1], kind[2]
	TYPES[0x1f + i] = "SEALED_" .. kind[1]
end
local SEALED_DATA, SEALED_MORE = 60, 24
local MAX_MESSAGE, MAX_SEALED, MAX_STREAM = 1000000, 1 << 20, (1 << 20) + 1024 * 29
local NOTHING = 0xffffffff

local YESNO = { [0] = "no", "yes" }
local f = {
	sport = ProtoField.uint16("homa.srcport", "Source port"),
	dport = ProtoField.uint16("homa.dstport", "Destination port"),
	port = ProtoField.uint16("homa.port", "Port"),
	sequence = ProtoField.uint32("homa.sequence", "Sequence"),
	kind = ProtoField.uint8("homa.type", "Type", base.HEX, TYPES),
	doff = ProtoField.uint8("homa.doff", "Words of header for segmentation", base.DEC, nil, 0xf0),
	window = ProtoField.uint16("homa.window", "Payload bytes per packet"),
	id = ProtoField.uint64("homa.id", "Sender id"),
	rpc = ProtoField.uint64("homa.rpc", "RPC (the client's id)"),
	response = ProtoField.uint8("homa.from_server", "From the server", base.DEC, YESNO),
	sealed = ProtoField.uint8("homa.sealed", "Sealed", base.DEC, YESNO),
	-- DATA
	length = ProtoField.uint32("homa.message_length", "Message length"),
	incoming = ProtoField.uint32("homa.incoming", "Sent without further grants"),
	ack_id = ProtoField.uint64("homa.ack.id", "Acknowledged: client id"),
	ack_port = ProtoField.uint16("homa.ack.port", "Acknowledged: server port"),
	cutoff_version = ProtoField.uint16("homa.cutoff_version", "Cutoff version"),
	retransmit = ProtoField.uint8("homa.retransmit", "Retransmission", base.DEC, YESNO),
	limit = ProtoField.uint8("homa.response_limit", "Response limit", base.DEC, nil, 0x0f),
	segment = ProtoField.int32("homa.segment_offset", "Segment offset"),
	offset = ProtoField.uint32("homa.offset", "Offset"),
	payload = ProtoField.bytes("homa.payload", "Payload"),
	payload_length = ProtoField.uint32("homa.payload_length", "Payload length"),
	-- control
	range_length = ProtoField.int32("homa.length", "Length (-1: all that was sent)"),
	priority = ProtoField.uint8("homa.priority", "Priority"),
	cutoff = ProtoField.uint32("homa.cutoff", "Cutoff"),
	count = ProtoField.uint16("homa.ack.count", "Acknowledgments"),
	-- sealed
	record_first = ProtoField.uint16("homa.seal.first_record", "First record of the segment"),
	record_size = ProtoField.uint16("homa.seal.record_size", "Record size (plaintext)"),
	flags = ProtoField.uint8("homa.seal.flags", "Seal flags", base.HEX),
	epoch = ProtoField.uint8("homa.seal.epoch", "Key epoch", base.DEC, nil, 0x03),
	tls13 = ProtoField.uint8("homa.seal.tls", "TLS", base.DEC, { [0] = "1.2", "1.3" }, 0x04),
	by_ip_id = ProtoField.uint8("homa.seal.place", "Place", base.DEC,
		{ [0] = "by the sequence", "by the IPv4 identification" }, 0x08),
	format = ProtoField.uint8("homa.seal.format", "Format"),
	record = ProtoField.uint16("homa.record", "Record"),
	record_number = ProtoField.uint64("homa.record.number", "Record sequence number", base.HEX),
	record_kind = ProtoField.uint8("homa.record.type", "Content type"),
	record_version = ProtoField.uint16("homa.record.version", "Version", base.HEX),
	record_length = ProtoField.uint16("homa.record.length", "Length"),
	counter = ProtoField.uint64("homa.seal.counter", "Control counter"),
	tag = ProtoField.bytes("homa.seal.tag", "Tag"),
}
homa.fields = f

-- The words are those of the module's counters, malformed_*.
local e = {}
for word, text in pairs {
	short = "shorter than its header", type = "no such type", port = "a port is zero",
	length = "no message has that length", place = "outside its message",
	record = "record fields contradict each other", acks = "too many acknowledgments",
	id = "no message has that id", format = "unknown version of the sealed format",
	reserved = "reserved bits are set", trailing = "bytes after its end",
} do
	e[word] = ProtoExpert.new("homa.malformed_" .. word, "Malformed: " .. text, expert.group.MALFORMED,
		expert.severity.ERROR)
end
e.header = ProtoExpert.new("homa.record_header", "This is no header of a record of that size", expert.group.PROTOCOL,
	expert.severity.WARN)
e.again = ProtoExpert.new("homa.retransmission", "Sent before", expert.group.SEQUENCE, expert.severity.NOTE)
homa.experts = e

local ip_id = Field.new("ip.id")

-- "a-b/length", as the Info column shows a range of bytes; b is not in it.
local function range(from, length, all)
	return string.format("%d-%d/%d", from, from + length, all)
end

local function plain_data(tvb, tree)
	local payload = tvb:len() - 56
	local length, segment = tvb(28, 4):uint(), tvb(52, 4):uint()
	tree:add(f.length, tvb(28, 4))
	tree:add(f.incoming, tvb(32, 4))
	if tvb(36, 8):uint64() ~= UInt64(0) then
		tree:add(f.ack_id, tvb(36, 8))
		tree:add(f.ack_port, tvb(44, 2))
	end
	tree:add(f.cutoff_version, tvb(46, 2))
	local again = tree:add(f.retransmit, tvb(48, 1))
	if tvb(48, 1):uint() ~= 0 then
		again:add_proto_expert_info(e.again)
	end
	tree:add(f.limit, tvb(49, 1))
	local place = tree:add(f.segment, tvb(52, 4))
	local offset = segment == NOTHING and tvb(4, 4):uint() or segment
	tree:add(f.offset, segment == NOTHING and tvb(4, 4) or tvb(52, 4), offset):set_generated()
	if length < 1 or length > MAX_MESSAGE then
		return tree:add_proto_expert_info(e.length)
	elseif payload < 1 then
		return tree:add_proto_expert_info(e.short)
	elseif offset + payload > length then
		return place:add_proto_expert_info(e.place)
	end
	tree:add(f.payload_length, tvb(56), payload):set_generated()
	tree:add(f.payload, tvb(56))
	return range(offset, payload, length)
end

-- The records that a packet has parts of: payload begins at `at` of the stream.
local function records(tvb, tree, id, at, size, overhead, length)
	local payload, whole = tvb:len() - SEALED_DATA, size + overhead
	local count = (length + size - 1) // size
	for index = at // whole, (at + payload - 1) // whole do
		local text = index == count - 1 and length - index * size or size
		local start, stop = index * whole, index * whole + text + overhead
		local from, to = math.max(start, at), math.min(stop, at + payload)
		local bytes = tvb(SEALED_DATA + from - at, to - from)
		local node = tree:add(f.record, bytes, index)
		node:append_text(string.format(", bytes %s of it", range(from - start, to - from, text + overhead)))
		local number = id:lshift(16) + UInt64(index)
		node:add(f.record_number, bytes, number):set_generated()
		if from == start and to - from >= 5 then
			node:add(f.record_kind, bytes(0, 1))
			node:add(f.record_version, bytes(1, 2))
			node:add(f.record_length, bytes(3, 2))
			if bytes(0, 1):uint() ~= 23 or bytes(1, 2):uint() ~= 0x0303
				or bytes(3, 2):uint() ~= text + overhead - 5 then
				node:add_proto_expert_info(e.header)
			end
		end
	end
end

local function seal_flags(tvb, tree, at)
	local node = tree:add(f.flags, tvb(at, 1))
	node:add(f.epoch, tvb(at, 1))
	node:add(f.tls13, tvb(at, 1))
	node:add(f.by_ip_id, tvb(at, 1))
	return node
end

local function sealed_data(tvb, tree)
	local payload = tvb:len() - SEALED_DATA
	local length, first = tvb(28, 4):uint(), tvb(50, 2):uint()
	local segment, size, flags = tvb(52, 4):uint(), tvb(56, 2):uint(), tvb(58, 1):uint()
	tree:add(f.length, tvb(28, 4))
	tree:add(f.incoming, tvb(32, 4))
	tree:add(f.cutoff_version, tvb(46, 2))
	local again = tree:add(f.retransmit, tvb(48, 1))
	if tvb(48, 1):uint() ~= 0 then
		again:add_proto_expert_info(e.again)
	end
	tree:add(f.limit, tvb(49, 1))
	tree:add(f.record_first, tvb(50, 2))
	tree:add(f.segment, tvb(52, 4))
	tree:add(f.record_size, tvb(56, 2))
	local flag_node = seal_flags(tvb, tree, 58)
	local format = tree:add(f.format, tvb(59, 1))
	if tvb(59, 1):uint() ~= 1 then
		return format:add_proto_expert_info(e.format)
	elseif flags >= 16 or tvb(49, 1):uint() >= 16 then
		return flag_node:add_proto_expert_info(e.reserved)
	elseif length < 9 or length > MAX_SEALED then
		return tree:add_proto_expert_info(e.length)
	elseif payload < 1 then
		return tree:add_proto_expert_info(e.short)
	elseif size < 64 or size > 16384 or length > 1024 * size or segment ~= first * size or segment >= length then
		return tree:add_proto_expert_info(e.record)
	end
	local overhead = flags & 4 ~= 0 and 22 or 29
	local stream = length + (length + size - 1) // size * overhead
	local place, where = tvb(4, 4):uint(), tvb(4, 4)
	if flags & 8 ~= 0 then
		local ip = ip_id()
		if not ip then
			return tree:add_proto_expert_info(e.place)
		end
		place, where = ip.value * tvb(14, 2):uint(), tvb(14, 2)
	end
	local offset = segment + first * overhead + place
	local node = tree:add(f.offset, where, offset)
	node:set_generated()
	node:append_text(" (of the stream, with records' headers and tags)")
	if offset + payload > stream then
		return node:add_proto_expert_info(e.place)
	end
	tree:add(f.payload_length, tvb(SEALED_DATA), payload):set_generated()
	records(tvb, tree, tvb(20, 8):uint64(), offset, size, overhead, length)
	return range(offset, payload, stream)
end

local control = {}

function control.GRANT(tvb, tree)
	local offset = tree:add(f.offset, tvb(28, 4))
	tree:add(f.priority, tvb(32, 1))
	if tvb(28, 4):uint() > MAX_STREAM then
		return offset:add_proto_expert_info(e.place)
	end
	return string.format("up to %d, priority %d", tvb(28, 4):uint(), tvb(32, 1):uint())
end

function control.RESEND(tvb, tree)
	local offset, length = tvb(28, 4):uint(), tvb(32, 4):int()
	tree:add(f.offset, tvb(28, 4))
	tree:add(f.range_length, tvb(32, 4))
	tree:add(f.priority, tvb(36, 1))
	if offset > MAX_STREAM or length < -1 or length > MAX_STREAM then
		return tree:add_proto_expert_info(e.place)
	end
	return length < 0 and "of all" or string.format("%d-%d", offset, offset + length)
end

function control.CUTOFFS(tvb, tree)
	for i = 0, 7 do
		tree:add(f.cutoff, tvb(28 + 4 * i, 4)):append_text(string.format(" (priority %d)", i))
	end
	tree:add(f.cutoff_version, tvb(60, 2))
	return string.format("version %d", tvb(60, 2):uint())
end

function control.ACK(tvb, tree)
	local count, ids = tvb(28, 2):uint(), {}
	local node = tree:add(f.count, tvb(28, 2))
	if count > 5 then
		return node:add_proto_expert_info(e.acks)
	end
	for i = 0, count - 1 do
		tree:add(f.ack_id, tvb(30 + 10 * i, 8))
		tree:add(f.ack_port, tvb(38 + 10 * i, 2))
		ids[#ids + 1] = tostring(tvb(30 + 10 * i, 8):uint64())
	end
	return "of " .. table.concat(ids, ", ")
end

local function sealed_control(tvb, tree, header)
	local flags = seal_flags(tvb, tree, 6)
	local format = tree:add(f.format, tvb(7, 1))
	local counter = tree:add(f.counter, tvb(header, 8))
	tree:add(f.tag, tvb(header + 8, 16))
	if tvb(7, 1):uint() ~= 1 then
		format:add_proto_expert_info(e.format)
	elseif tvb(6, 1):uint() >= 8 then
		flags:add_proto_expert_info(e.reserved)
	elseif tvb(header, 1):uint() >= 128 then
		counter:add_proto_expert_info(e.reserved)
	elseif tvb:len() > header + SEALED_MORE then
		tree:add_proto_expert_info(e.trailing)
	end
end

function homa.dissector(tvb, pinfo, root)
	pinfo.cols.protocol = "Homa"
	local tree = root:add(homa, tvb())
	local kind = tvb:len() > 11 and tvb(11, 1):uint() or nil
	if tvb:len() < 28 then
		tree:add_proto_expert_info(e.short)
		pinfo.cols.info = "too short"
		return
	end
	local name = TYPES[kind]
	local sport, dport, id = tvb(0, 2):uint(), tvb(2, 2):uint(), tvb(20, 8):uint64()
	local from_server = tvb(27, 1):uint() & 1
	local sealed = kind >= 0x20
	tree:append_text(string.format(", %s, %d → %d, id %s", name or "?", sport, dport, tostring(id)))
	pinfo.src_port, pinfo.dst_port = sport, dport
	tree:add(f.sport, tvb(0, 2))
	tree:add(f.dport, tvb(2, 2))
	tree:add(f.port, tvb(0, 2)):set_hidden(true)
	tree:add(f.port, tvb(2, 2)):set_hidden(true)
	if name == "DATA" or name == "SEALED_DATA" then
		tree:add(f.sequence, tvb(4, 4))
	end
	local kind_node = tree:add(f.kind, tvb(11, 1))
	if name then
		tree:add(f.sealed, tvb(11, 1), sealed and 1 or 0):set_generated()
	end
	tree:add(f.doff, tvb(12, 1))
	if name == "SEALED_DATA" then
		tree:add(f.window, tvb(14, 2))
	end
	local id_node = tree:add(f.id, tvb(20, 8))
	tree:add(f.rpc, tvb(20, 8), id - UInt64(from_server)):set_generated()
	tree:add(f.response, tvb(20, 8), from_server):set_generated()
	local info = string.format("%d → %d  %s  id=%s", sport, dport, name or "?", tostring(id))
	pinfo.cols.info = info
	if not name then
		kind_node:add_proto_expert_info(e.type)
		return
	end
	local header = LENGTH[sealed and kind - 0x10 or kind]
	local least = not sealed and header or name == "SEALED_DATA" and SEALED_DATA or header + SEALED_MORE
	if tvb:len() < least then
		tree:add_proto_expert_info(e.short)
		return
	elseif sport == 0 or dport == 0 then
		tree:add_proto_expert_info(e.port)
		return
	elseif sealed and id:rshift(47) ~= UInt64(0) then
		id_node:add_proto_expert_info(e.id)
		return
	end
	local more
	if name == "DATA" then
		more = plain_data(tvb, tree)
	elseif name == "SEALED_DATA" then
		more = sealed_data(tvb, tree)
	else
		local of = control[TYPES[sealed and kind - 0x10 or kind]]
		more = of and of(tvb, tree)
		if sealed then
			sealed_control(tvb, tree, header)
		end
	end
	if type(more) == "string" then
		if name == "DATA" or name == "SEALED_DATA" then
			more = (from_server == 1 and "response " or "request ") .. more
		end
		pinfo.cols.info = info .. "  " .. more
	end
end

DissectorTable.get("ip.proto"):add(146, homa)
