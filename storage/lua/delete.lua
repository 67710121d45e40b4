#!lua flags=allow-oom
-- delete: the last commit of a context; nothing of it stays.
--
-- KEYS 1 meta  2 log  3 mail  4 draft  5 keys  6 results  7 snap  8 msgs  9 ready
--      10 owner's index  11 the worker's contexts  12 dead  13 dead letters  14 epoch
--      15 due  16 owner's names
-- ARGV 1 context id  2 token  3 channel  4 frame
-- Returns "deleted" | "fenced" | "missing"
local token = redis.call("HGET", KEYS[1], "token")
if not token then return "missing" end
if (redis.call("HGET", KEYS[14], "n") or "") .. "." .. token ~= ARGV[2] then return "fenced" end
local name = redis.call("HGET", KEYS[1], "name")
if name then redis.call("HDEL", KEYS[16], name) end
for i = 1, 8 do redis.call("DEL", KEYS[i]) end
for _, letter in ipairs(redis.call("HKEYS", KEYS[12])) do redis.call("ZREM", KEYS[13], letter) end
redis.call("DEL", KEYS[12])
redis.call("ZREM", KEYS[9], ARGV[1])
redis.call("ZREM", KEYS[15], ARGV[1])
redis.call("ZREM", KEYS[10], ARGV[1])
redis.call("SREM", KEYS[11], ARGV[1])
redis.call("PUBLISH", ARGV[3], ARGV[4])
return "deleted"
