#!lua
-- create: a new context, with its first log entries and perhaps its first mail.
--
-- KEYS 1 meta  2 log  3 mail  4 owner's index  5 creation key (unused without ARGV 7)  6 ready
--      7 due  8 contexts  9 notices  10 webhooks  11 base  12 owner's names (unused without ARGV 13)
--      13 owner's turns  14 owner's tokens  15 totals  16 snap  17 msgs
-- ARGV 1 context id  2 owner  3 version to which `fill` has brought the log, or 0  4 summary
--      5 first mail or ""
--      6 now (ms)  7 digest of the request or "" (no Idempotency-Key)  8 creation ttl (s)
--      9 when to activate it by itself (ms), or ""  10 notice of the first event or ""
--      11 version of a base or 0  12 its state: the log begins behind it
--      13 the owner's name for it, or ""  14 messages that it has
--      15 what the first mail demands: see deliver  16 contexts  17 messages  18 bytes  19 turns
--      20 tokens that the quotas allow, each 0 for any number  21 its phase  22 1: a turn runs in it
--      23 bytes that `fill` has brought  24 head of a snapshot whose messages it has brought, or ""
--      then the events behind these, or the base, or all
-- Returns {"created"} | {"repeated", id of the context created before, or of that name} | {"reused"}
--      | {"over", quota, how many are used} | {"lost"}
--      reused: the key came with another request
--      lost: what `fill` has brought is not there any more
--- include quotas
local base, filled = tonumber(ARGV[11]), tonumber(ARGV[3])

-- What `fill` has brought is nobody's where it is not created.
local function instead(...)
  if filled > 0 and redis.call("EXISTS", KEYS[1]) == 0 then redis.call("DEL", KEYS[2], KEYS[17]) end
  return {...}
end

if ARGV[7] ~= "" then
  local before = redis.call("GET", KEYS[5])
  if before then
    local id, digest = string.match(before, "^(%S+) (%S+)$")
    if digest ~= ARGV[7] then return instead("reused") end
    return instead("repeated", id)
  end
end
if redis.call("EXISTS", KEYS[1]) == 1 then return {"created"} end
if ARGV[13] ~= "" then
  local named = redis.call("HGET", KEYS[12], ARGV[13])
  if named then return instead("repeated", named) end
end
if filled > 0 then
  local last = redis.call("XREVRANGE", KEYS[2], "+", "-", "COUNT", 1)[1]
  if not last or last[1] ~= ARGV[3] .. "-0" then return {"lost"} end
end
local messages, bytes = tonumber(ARGV[14]), #ARGV[12] + tonumber(ARGV[23])
if ARGV[24] ~= "" and redis.call("LLEN", KEYS[17]) ~= messages then return {"lost"} end
for i = 25, #ARGV do bytes = bytes + #ARGV[i] end
local contexts = redis.call("ZCARD", KEYS[4])
if is_over(ARGV[16], contexts) then return instead("over", "contexts", contexts) end
if is_over(ARGV[17], messages - 1) then return instead("over", "messages", messages) end
if is_over(ARGV[18], bytes - 1) then return instead("over", "bytes", bytes) end
if ARGV[15] == "begins" then
  local over = begin_turn(ARGV[1], KEYS[13], KEYS[14], ARGV[19], ARGV[20])
  if over then return instead(unpack(over)) end
end
if filled > 0 then redis.call("PERSIST", KEYS[2]) end
local version = math.max(base, filled) + #ARGV - 24
local mail_seq = ARGV[5] == "" and 0 or 1
redis.call("HSET", KEYS[1], "owner", ARGV[2], "token", 0, "worker", "", "version", version,
  "n", 0, "mail_seq", mail_seq, "summary", ARGV[4], "messages", messages, "bytes", bytes,
  "phase", ARGV[21])
if ARGV[21] ~= "idle" then redis.call("HINCRBY", KEYS[15], "phase:" .. ARGV[21], 1) end
redis.call("HINCRBY", KEYS[15], "contexts:created", 1)
if ARGV[22] == "1" then redis.call("HINCRBY", KEYS[15], "turns:started", 1) end
if base > 0 then
  redis.call("HSET", KEYS[11], "version", base, "state", ARGV[12])
  redis.call("HSET", KEYS[1], "first", base + 1)
end
for i = 25, #ARGV do
  redis.call("XADD", KEYS[2], (version - #ARGV + i) .. "-0", "e", ARGV[i])
end
if ARGV[24] ~= "" then
  redis.call("PERSIST", KEYS[17])
  redis.call("HSET", KEYS[16], "version", version, "head", ARGV[24])
  redis.call("HINCRBY", KEYS[16], "writes", 1)
end
if ARGV[9] ~= "" then redis.call("ZADD", KEYS[7], ARGV[9], ARGV[1]) end
redis.call("ZADD", KEYS[4], 0, ARGV[1])
redis.call("ZADD", KEYS[8], ARGV[6], ARGV[1])
if ARGV[13] ~= "" then
  redis.call("HSET", KEYS[1], "name", ARGV[13])
  redis.call("HSET", KEYS[12], ARGV[13], ARGV[1])
end
if ARGV[10] ~= "" then
  redis.call("ZADD", KEYS[9], 1, ARGV[10])
  redis.call("ZADD", KEYS[10], "NX", 0, ARGV[1])
end
if ARGV[7] ~= "" then
  redis.call("SET", KEYS[5], ARGV[1] .. " " .. ARGV[7], "EX", ARGV[8])
end
if mail_seq == 1 then
  redis.call("XADD", KEYS[3], "1-0", "m", ARGV[5], "t", ARGV[6])
  redis.call("HINCRBY", KEYS[15], "actions:delivered", 1)
  redis.call("ZADD", KEYS[6], ARGV[6], ARGV[1])
end
return {"created"}
