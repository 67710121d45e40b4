#!lua flags=allow-oom
-- renew: a worker says that it lives, and hears who does not.
--
-- A session that has run out may be renewed until somebody buries the worker; contexts
-- that were taken meanwhile are fenced by their tokens.
--
-- One that was buried is named for as long as it has jobs; a worker that has its id begins anew.
--
-- KEYS 1 the worker's session  2 workers
-- ARGV 1 worker id  2 session_ms  3 now (ms)  4 1: begin the session
-- Returns {"lost"} | {"alive", id of a dead worker...}
local since = redis.call("ZSCORE", KEYS[2], ARGV[1])
if not since or tonumber(since) < 0 then
  if ARGV[4] ~= "1" then return {"lost"} end
  redis.call("ZADD", KEYS[2], ARGV[3], ARGV[1])
end
redis.call("SET", KEYS[1], ARGV[3], "PX", ARGV[2])
local reply = {"alive"}
for _, id in ipairs(redis.call("ZRANGE", KEYS[2], 0, -1)) do
  if redis.call("EXISTS", "worker:" .. id .. ":session") == 0 then reply[#reply + 1] = id end
end
return reply
