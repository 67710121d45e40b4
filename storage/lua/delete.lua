#!lua flags=allow-oom
-- delete: the last commit of a context; nothing of it stays but what webhooks are still to
-- tell, and for a while a tombstone where that is wanted.
--
-- KEYS 1 meta  2 log  3 mail  4 draft  5 keys  6 results  7 snap  8 msgs  9 ready
--      10 owner's index  11 the worker's contexts  12 dead  13 dead letters  14 epoch
--      15 due  16 contexts  17 gone  18 notices  19 webhooks  20 base  21 owner's names
--      22 owner's turns  23 totals
-- ARGV 1 context id  2 token  3 channel  4 frame  5 how long a tombstone stands (s), or 0
--      6 seq of the action that has deleted it  7 its result  8 what is counted: names
--      9 number of results: of the mail that is taken  then notices (version, value)
-- Returns "deleted" | "fenced" | "missing"
local meta = redis.call("HMGET", KEYS[1], "token", "owner", "phase")
if not meta[1] then return "missing" end
if (redis.call("HGET", KEYS[14], "n") or "") .. "." .. meta[1] ~= ARGV[2] then return "fenced" end
local name = redis.call("HGET", KEYS[1], "name")
if name then redis.call("HDEL", KEYS[21], name) end
if ARGV[5] ~= "0" then
  local key = redis.call("HGET", KEYS[5], "s:" .. ARGV[6]) or ""
  local digest = string.match(redis.call("HGET", KEYS[5], "k:" .. key) or "", "(%S+)$") or ""
  redis.call("HSET", KEYS[17], "owner", meta[2], "seq", ARGV[6], "key", key, "digest", digest,
    "result", ARGV[7])
  redis.call("EXPIRE", KEYS[17], ARGV[5])
end
if meta[3] and meta[3] ~= "idle" then redis.call("HINCRBY", KEYS[23], "-phase:" .. meta[3], 1) end
redis.call("HINCRBY", KEYS[23], "contexts:deleted", 1)
local dropped = redis.call("XLEN", KEYS[3]) - tonumber(ARGV[9])
if dropped > 0 then redis.call("HINCRBY", KEYS[23], "actions:dropped", dropped) end
for name in string.gmatch(ARGV[8], "%S+") do redis.call("HINCRBY", KEYS[23], name, 1) end
for i = 10, #ARGV, 2 do
  redis.call("ZADD", KEYS[18], ARGV[i], ARGV[i + 1])
  redis.call("ZADD", KEYS[19], "NX", 0, ARGV[1])
end
for i = 1, 8 do redis.call("DEL", KEYS[i]) end
for _, letter in ipairs(redis.call("HKEYS", KEYS[12])) do redis.call("ZREM", KEYS[13], letter) end
redis.call("DEL", KEYS[12], KEYS[20])
redis.call("ZREM", KEYS[9], ARGV[1])
redis.call("ZREM", KEYS[15], ARGV[1])
redis.call("ZREM", KEYS[10], ARGV[1])
redis.call("ZREM", KEYS[16], ARGV[1])
redis.call("SREM", KEYS[11], ARGV[1])
redis.call("SREM", KEYS[22], ARGV[1])
redis.call("PUBLISH", ARGV[3], ARGV[4])
return "deleted"
