#!lua flags=allow-oom
-- passivate: give a context back, unless mail waits.
--
-- Deciding both in one step makes a lost wake-up impossible: a delivery sees either a
-- living owner or none, and this sees either its mail or none.
--
-- KEYS 1 meta  2 mail  3 the worker's contexts
-- ARGV 1 context id  2 token
-- Returns "passive" | "mail" | "fenced"
if redis.call("HGET", KEYS[1], "token") ~= ARGV[2] then return "fenced" end
if redis.call("XLEN", KEYS[2]) > 0 then return "mail" end
redis.call("HSET", KEYS[1], "worker", "")
redis.call("SREM", KEYS[3], ARGV[1])
return "passive"
