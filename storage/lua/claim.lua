#!lua flags=allow-oom
-- claim: contexts that have been waiting too long for a worker, each to one caller.
--
-- A claimed context becomes overdue again unless somebody activates it.
--
-- KEYS 1 ready
-- ARGV 1 now (ms)  2 overdue_ms  3 how many at most
-- Returns {context id...}
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", tonumber(ARGV[1]) - tonumber(ARGV[2]),
  "LIMIT", 0, ARGV[3])
for _, id in ipairs(ids) do redis.call("ZADD", KEYS[1], ARGV[1], id) end
return ids
