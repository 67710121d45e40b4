#!lua flags=allow-oom
-- attempt: what has ended workers before is begun once more; a commit takes the count back.
--
-- KEYS 1 meta  2 epoch
-- ARGV 1 token  2 which attempt it is
-- Returns "counted" | "fenced"
local number = redis.call("HGET", KEYS[1], "token") or ""
if (redis.call("HGET", KEYS[2], "n") or "") .. "." .. number ~= ARGV[1] then return "fenced" end
redis.call("HSET", KEYS[1], "attempts", ARGV[2])
return "counted"
