#!lua flags=allow-oom
-- claim: contexts that have been waiting too long for a worker, each to one caller.
--
-- A claimed context becomes overdue again unless somebody activates it. One whose moment lies
-- in the future was put here by a clock that has jumped: it has waited for nobody knows how long.
--
-- KEYS 1 ready
-- ARGV 1 now (ms)  2 overdue_ms  3 how many at most
-- Returns {context id...}
local now, overdue = tonumber(ARGV[1]), tonumber(ARGV[2])
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now - overdue, "LIMIT", 0, ARGV[3])
if #ids == 0 then
  ids = redis.call("ZRANGEBYSCORE", KEYS[1], "(" .. now + overdue, "+inf", "LIMIT", 0, ARGV[3])
end
for _, id in ipairs(ids) do redis.call("ZADD", KEYS[1], ARGV[1], id) end
return ids
