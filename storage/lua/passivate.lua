#!lua flags=allow-oom
-- passivate: give a context back, unless mail waits, or a wish for a shorter log.
--
-- Deciding both in one step makes a lost wake-up impossible: a delivery sees either a
-- living owner or none, and this sees either its mail or none.
--
-- A repeat finds the context given back under this token, and says so whatever came since:
-- whoever delivered in between was told that nobody has it.
--
-- KEYS 1 meta  2 mail  3 the worker's contexts  4 epoch
-- ARGV 1 context id  2 token  3 version that the caller has committed
-- Returns "passive" | "mail" | "keep" | "fenced" (also an older call, executed late: the context has
--         gone on since)
local meta = redis.call("HMGET", KEYS[1], "token", "worker", "version", "keep")
if (redis.call("HGET", KEYS[4], "n") or "") .. "." .. (meta[1] or "") ~= ARGV[2] then return "fenced" end
if meta[2] == "" then return "passive" end
if meta[3] ~= ARGV[3] then return "fenced" end
if redis.call("XLEN", KEYS[2]) > 0 then return "mail" end
if meta[4] then return "keep" end
redis.call("HSET", KEYS[1], "worker", "", "attempts", 0)
redis.call("SREM", KEYS[3], ARGV[1])
return "passive"
