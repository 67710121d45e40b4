#!lua flags=allow-oom
-- compact: a state takes the place of the events that have led to it.
--
-- Versions stay what they are: the log goes on behind the base, and keeps some events before
-- it for those who resume. A repeat does the same once more; one that is executed late finds
-- another token or another version. A wish for a log of this length is fulfilled with it.
--
-- KEYS 1 meta  2 log  3 base  4 epoch
-- ARGV 1 token  2 version  3 the state at that version  4 first version that the log keeps
-- Returns "compacted" | "fenced" | {"conflict", version that the context is at}
local meta = redis.call("HMGET", KEYS[1], "token", "version", "keep")
if (redis.call("HGET", KEYS[4], "n") or "") .. "." .. (meta[1] or "") ~= ARGV[1] then return "fenced" end
if meta[2] ~= ARGV[2] then return {"conflict", tonumber(meta[2])} end
redis.call("HSET", KEYS[3], "version", ARGV[2], "state", ARGV[3])
redis.call("XTRIM", KEYS[2], "MINID", ARGV[4] .. "-0")
local bytes = #ARGV[3]
for _, entry in ipairs(redis.call("XRANGE", KEYS[2], "-", "+")) do bytes = bytes + #entry[2][2] end
redis.call("HSET", KEYS[1], "first", ARGV[4], "bytes", bytes)
if meta[3] and tonumber(ARGV[2]) - tonumber(ARGV[4]) < tonumber(meta[3]) then
  redis.call("HDEL", KEYS[1], "keep")
end
return "compacted"
