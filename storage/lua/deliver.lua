#!lua
-- deliver: put an action into a context's mailbox, once per idempotency key.
--
-- KEYS 1 meta  2 mail  3 keys  4 results  5 ready  6 gone  7 owner's turns
--      8 owner's tokens  9 totals
-- ARGV 1 context id  2 owner  3 mail  4 idempotency key or ""  5 digest of the action
--      6 now (ms)  7 mailbox_max  8 results_max  9 what it demands: "" | "adds" messages
--      | "begins" a turn too  10 contexts  11 messages  12 bytes  13 turns  14 tokens that the
--      quotas allow, each 0 for any number
-- Returns {"delivered", seq, active} | {"repeated", seq, active, result or ""}
--      | {"missing"} | {"gone"} | {"reused"} | {"full"} | {"over", quota, how many are used}
--      gone: its owner has deleted it; repeated, if it is that deletion that comes again
--      active: 1 if a living worker has the context and was told, else 0: enqueue it
--- include quotas
local meta = redis.call("HMGET", KEYS[1], "owner", "worker", "mail_seq", "messages", "bytes")
if not meta[1] then
  local gone = redis.call("HMGET", KEYS[6], "owner", "seq", "key", "digest", "result")
  if gone[1] ~= ARGV[2] then return {"missing"} end
  if ARGV[4] == "" or gone[3] ~= ARGV[4] then return {"gone"} end
  if gone[4] ~= ARGV[5] then return {"reused"} end
  return {"repeated", tonumber(gone[2]), 0, gone[5]}
end
if meta[1] ~= ARGV[2] then return {"missing"} end
local worker = meta[2]
local active = 0
if worker ~= "" and redis.call("EXISTS", "worker:" .. worker .. ":session") == 1 then
  active = 1
end
if ARGV[4] ~= "" then
  local before = redis.call("HGET", KEYS[3], "k:" .. ARGV[4])
  if before then
    local seq, digest = string.match(before, "^(%S+) (%S+)$")
    if digest ~= ARGV[5] then return {"reused"} end
    return {"repeated", tonumber(seq), active, redis.call("HGET", KEYS[4], seq) or ""}
  end
end
local waiting = redis.call("XLEN", KEYS[2])
if waiting >= tonumber(ARGV[7]) then return {"full"} end
if ARGV[9] ~= "" then
  local messages, bytes = tonumber(meta[4] or 0) + waiting, tonumber(meta[5] or 0)
  if is_over(ARGV[11], messages) then return {"over", "messages", messages} end
  if is_over(ARGV[12], bytes) then return {"over", "bytes", bytes} end
end
if ARGV[9] == "begins" then
  local over = begin_turn(ARGV[1], KEYS[7], KEYS[8], ARGV[13], ARGV[14])
  if over then return over end
end
local seq = tonumber(meta[3]) + 1
redis.call("HSET", KEYS[1], "mail_seq", seq)
redis.call("XADD", KEYS[2], seq .. "-0", "m", ARGV[3], "t", ARGV[6])
redis.call("HINCRBY", KEYS[9], "actions:delivered", 1)
redis.call("ZADD", KEYS[5], "NX", ARGV[6], ARGV[1])
if ARGV[4] ~= "" then
  redis.call("HSET", KEYS[3], "k:" .. ARGV[4], seq .. " " .. ARGV[5], "s:" .. seq, ARGV[4])
end
local old = seq - tonumber(ARGV[8])
if old > 0 then
  redis.call("HDEL", KEYS[4], old)
  local key = redis.call("HGET", KEYS[3], "s:" .. old)
  if key then redis.call("HDEL", KEYS[3], "s:" .. old, "k:" .. key) end
end
if active == 1 then
  redis.call("PUBLISH", "worker:" .. worker .. ":mail", ARGV[1] .. "\n" .. seq .. "\n" .. ARGV[3])
end
return {"delivered", seq, active}
