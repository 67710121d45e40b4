#!lua flags=allow-oom
-- attempt: what has ended workers before is begun once more; a commit takes the count back.
--
-- KEYS 1 meta
-- ARGV 1 token  2 which attempt it is
-- Returns "counted" | "fenced"
if redis.call("HGET", KEYS[1], "token") ~= ARGV[1] then return "fenced" end
redis.call("HSET", KEYS[1], "attempts", ARGV[2])
return "counted"
