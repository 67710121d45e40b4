#!lua flags=allow-oom
-- claim: contexts that have been waiting too long for a worker, or whose time has come, each
-- to one caller.
--
-- A claimed context becomes overdue again unless somebody activates it. One whose moment lies
-- in the future was put here by a clock that has jumped: it has waited for nobody knows how long.
-- What is due is postponed by the store's clock at most, and never to before its time: where the
-- caller's is ahead, it comes again.
--
-- KEYS 1 ready  2 due
-- ARGV 1 now (ms)  2 overdue_ms  3 how many at most
-- Returns {context id...}
local now, overdue = tonumber(ARGV[1]), tonumber(ARGV[2])
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now - overdue, "LIMIT", 0, ARGV[3])
local ahead = redis.call("ZRANGEBYSCORE", KEYS[1], "(" .. now + overdue, "+inf", "LIMIT", 0,
  tonumber(ARGV[3]) - #ids)
for _, id in ipairs(ahead) do ids[#ids + 1] = id end
for _, id in ipairs(ids) do redis.call("ZADD", KEYS[1], ARGV[1], id) end
local room = tonumber(ARGV[3]) - #ids
if room > 0 then
  local due = redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", now, "LIMIT", 0, room)
  local time = redis.call("TIME")
  local store_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local again = math.min(now, store_ms) + overdue
  for _, id in ipairs(due) do
    redis.call("ZADD", KEYS[2], "GT", again, id)
    ids[#ids + 1] = id
  end
end
return ids
