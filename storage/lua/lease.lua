#!lua flags=allow-oom
-- lease: members of a zset whose time has come, each to one caller.
--
-- Each comes again at the time that the caller gives, unless it is moved or removed before.
--
-- KEYS 1 the zset
-- ARGV 1 members up to this time (ms)  2 when they come again (ms)  3 how many at most
--      4 a time later than this comes from a clock that has jumped, and counts as come; "+inf": none
-- Returns {member...}
local found = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1], "LIMIT", 0, ARGV[3])
if ARGV[4] ~= "+inf" then
  local ahead = redis.call("ZRANGEBYSCORE", KEYS[1], "(" .. ARGV[4], "+inf", "LIMIT", 0,
    tonumber(ARGV[3]) - #found)
  for _, member in ipairs(ahead) do found[#found + 1] = member end
end
for _, member in ipairs(found) do redis.call("ZADD", KEYS[1], ARGV[2], member) end
return found
