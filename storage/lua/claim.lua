#!lua flags=allow-oom
-- claim: contexts that have been waiting too long for a worker, or whose time has come, each
-- to one caller.
--
-- A claimed context becomes overdue again unless somebody activates it. One whose moment lies
-- in the future was put here by a clock that has jumped: it has waited for nobody knows how long.
--
-- KEYS 1 ready  2 due
-- ARGV 1 now (ms)  2 overdue_ms  3 how many at most
-- Returns {context id...}
local now, overdue = tonumber(ARGV[1]), tonumber(ARGV[2])
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now - overdue, "LIMIT", 0, ARGV[3])
if #ids == 0 then
  ids = redis.call("ZRANGEBYSCORE", KEYS[1], "(" .. now + overdue, "+inf", "LIMIT", 0, ARGV[3])
end
for _, id in ipairs(ids) do redis.call("ZADD", KEYS[1], ARGV[1], id) end
local room = tonumber(ARGV[3]) - #ids
if room > 0 then
  local due = redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", now, "LIMIT", 0, room)
  for _, id in ipairs(due) do
    redis.call("ZADD", KEYS[2], now + overdue, id)
    ids[#ids + 1] = id
  end
end
return ids
