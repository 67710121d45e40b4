#!lua flags=allow-oom
-- commit: fence check, log append, mailbox ack, results, snapshot and publication at once.
--
-- Repeating it is safe: only the holder of the token can have moved the version, so a log
-- that already ends where this commit would end is this commit.
--
-- KEYS 1 meta  2 log  3 mail  4 draft  5 results  6 snap  7 msgs  8 ready  9 dead  10 dead letters
--      11 epoch  12 due  13 notices  14 webhooks  15 owner's turns  16 owner's tokens  17 totals
-- ARGV 1 context id  2 token  3 version before  4 number of events  5 seq acknowledged or 0
--      6 number of results  7 draft: "keep", "clear" or "start"  8 n of the draft
--      9 its text (start)  10 summary  11 channel  12 frame header
--      13 snapshot version or 0  14 head  15 messages already in the snapshot
--      16 number of further messages  17 dead letter or ""  18 its id  19 now (ms)
--      20 1: what may have ended workers before is behind us
--      21 when to activate it (ms), "" never, -1 as before  22 number of notices
--      23 messages that the context has  24 tokens that the events tell of  25 1: the context rests
--      26 phase  27 what else is counted: names
--      28 trace of the running turn, "-" as before
--      then the events, the results (seq, value each), the messages, the notices (version, value)
-- Returns {"committed"} | {"repeated"} | {"fenced"} | {"conflict", version} | {"missing"}
local meta = redis.call("HMGET", KEYS[1], "token", "version", "bytes", "phase", "mail_seq")
if not meta[1] then return {"missing"} end
if (redis.call("HGET", KEYS[11], "n") or "") .. "." .. meta[1] ~= ARGV[2] then return {"fenced"} end
local base, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local version = tonumber(meta[2])
if version ~= base then
  if version == base + count then return {"repeated"} end
  return {"conflict", version}
end
local at, bytes = 28, tonumber(meta[3] or 0)
local lines = {ARGV[12]}
for i = 1, count do
  redis.call("XADD", KEYS[2], (base + i) .. "-0", "e", ARGV[at + i])
  lines[i + 1] = ARGV[at + i]
  bytes = bytes + #ARGV[at + i]
end
at = at + count
local fields = {"phase", ARGV[26]}
local function set(...)
  for _, part in ipairs({...}) do fields[#fields + 1] = part end
end
if ARGV[7] == "start" then
  redis.call("SET", KEYS[4], ARGV[9])
  set("n", ARGV[8], "drafted", base + count)
elseif ARGV[7] == "clear" then
  redis.call("DEL", KEYS[4])
  set("n", 0)
end
if count > 0 then
  set("version", base + count, "summary", ARGV[10], "bytes", bytes, "messages", ARGV[23])
end
if ARGV[20] == "1" then set("attempts", 0) end
if ARGV[28] ~= "-" then set("trace", ARGV[28]) end
redis.call("HSET", KEYS[1], unpack(fields))
-- One field for all that is counted at once: each further one costs as much again.
local counted = ARGV[27]
if count == 0 and ARGV[5] ~= "0" then
  local mail_id = ARGV[5] .. "-0"  -- gone: this is a repeat, and is counted
  if #redis.call("XRANGE", KEYS[3], mail_id, mail_id) == 0 then counted = "" end
end
if meta[4] ~= ARGV[26] then
  if meta[4] and meta[4] ~= "idle" then counted = counted .. " -phase:" .. meta[4] end
  if ARGV[26] ~= "idle" then counted = counted .. " phase:" .. ARGV[26] end
end
if #counted > 200 then
  for name in string.gmatch(counted, "%S+") do redis.call("HINCRBY", KEYS[17], name, 1) end
elseif counted ~= "" then
  redis.call("HINCRBY", KEYS[17], counted, 1)
end
if ARGV[21] == "" then
  redis.call("ZREM", KEYS[12], ARGV[1])
elseif ARGV[21] ~= "-1" then
  redis.call("ZADD", KEYS[12], ARGV[21], ARGV[1])
end
if ARGV[17] ~= "" then
  redis.call("HSET", KEYS[9], ARGV[18], ARGV[17])
  redis.call("ZADD", KEYS[10], ARGV[19], ARGV[18])
end
for i = 1, tonumber(ARGV[6]) do
  redis.call("HSET", KEYS[5], ARGV[at + 1], ARGV[at + 2])
  at = at + 2
end
if ARGV[5] ~= "0" then
  if ARGV[5] == meta[5] then  -- it was the last
    redis.call("DEL", KEYS[3])
    redis.call("ZREM", KEYS[8], ARGV[1])
  else
    redis.call("XTRIM", KEYS[3], "MINID", (tonumber(ARGV[5]) + 1) .. "-0")
  end
end
if ARGV[25] == "0" then
  redis.call("SADD", KEYS[15], ARGV[1])
elseif redis.call("EXISTS", KEYS[3]) == 0 then
  redis.call("SREM", KEYS[15], ARGV[1])
end
if ARGV[24] ~= "0" then
  local today = math.floor(tonumber(redis.call("TIME")[1]) / 86400)
  if tonumber(redis.call("HGET", KEYS[16], "day") or 0) ~= today then
    redis.call("HSET", KEYS[16], "day", today, "used", 0)
    redis.call("EXPIRE", KEYS[16], 86400)
  end
  -- What a model server counts may be too much to be added; the commit is half written by now.
  redis.pcall("HINCRBY", KEYS[16], "used", ARGV[24])
end
for i = 1, tonumber(ARGV[22]) do
  local notice = #ARGV - 2 * (tonumber(ARGV[22]) - i)
  redis.call("ZADD", KEYS[13], ARGV[notice - 1], ARGV[notice])
  redis.call("ZADD", KEYS[14], "NX", 0, ARGV[1])
end
if ARGV[13] ~= "0" then
  local kept = tonumber(ARGV[15])
  if kept == 0 then redis.call("DEL", KEYS[7]) else redis.call("LTRIM", KEYS[7], 0, kept - 1) end
  for i = 1, tonumber(ARGV[16]) do redis.call("RPUSH", KEYS[7], ARGV[at + i]) end
  redis.call("HSET", KEYS[6], "version", ARGV[13], "head", ARGV[14])
  redis.call("HINCRBY", KEYS[6], "writes", 1)
end
redis.call("PUBLISH", ARGV[11], table.concat(lines, "\n"))
return {"committed"}
