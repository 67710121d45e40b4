#!lua flags=allow-oom
-- bury: a worker is dead (or leaves); its contexts are to be taken over at once.
--
-- From here on it is fenced: a commit of its that is still on its way would take a context
-- out of `ready` again, and nobody would look for it.
--
-- It stays in `workers`, with a score below 0, until `finish` has ended its jobs: whoever buries
-- it may die between the two, and `renew` names it to the others.
--
-- Dashboards are told here, and not by the caller: a repeat finds it buried, and so does whoever
-- comes after a caller that has died.
--
-- KEYS 1 workers  2 ready  3 its session  4 its contexts  5 announcements
-- ARGV 1 worker id  2 channel on which the others are woken  3 the announcement, in which the
--      number of its contexts is 0, or ""  4 announcements kept
-- Returns how many contexts it had; 0 if it was buried before, or never lived
--- include announcements
local since = redis.call("ZSCORE", KEYS[1], ARGV[1])
redis.call("DEL", KEYS[3])
local contexts = redis.call("SMEMBERS", KEYS[4])
for _, id in ipairs(contexts) do
  local meta = "ctx:{" .. id .. "}:meta"
  if redis.call("HGET", meta, "worker") == ARGV[1] then redis.call("HINCRBY", meta, "token", 1) end
  redis.call("ZADD", KEYS[2], 0, id)
end
redis.call("DEL", KEYS[4])
redis.call("ZADD", KEYS[1], "XX", -1, ARGV[1])
if #contexts > 0 then redis.call("PUBLISH", ARGV[2], ARGV[1]) end
if since and tonumber(since) >= 0 and ARGV[3] ~= "" then
  local counted = string.gsub(ARGV[3], '"contexts":0', '"contexts":' .. #contexts)
  announce(KEYS[5], ARGV[4], {counted})
end
return #contexts
