#!lua flags=allow-oom
-- shorten: ask for a context's log to be compacted as soon as the context rests.
--
-- Its owner finds the wish when it would give the context back, and compacts under its own token:
-- nobody else writes a log. It is not woken, for its rest would begin anew. The wish stays until
-- the log is that short, whoever owns it by then. A repeat wishes the same; a later wish
-- takes the place of an earlier one.
--
-- KEYS 1 meta
-- ARGV 1 events that the log is to keep
-- Returns {"missing"} | {"short"}: it has no more than that
--      | {"asked", active}: 1 if a living worker has the context, else 0: enqueue it
local meta = redis.call("HMGET", KEYS[1], "version", "first", "worker")
if not meta[1] then return {"missing"} end
if tonumber(meta[1]) - tonumber(meta[2] or 1) < tonumber(ARGV[1]) then
  redis.call("HDEL", KEYS[1], "keep")
  return {"short"}
end
redis.call("HSET", KEYS[1], "keep", ARGV[1])
return {"asked", redis.call("EXISTS", "worker:" .. meta[3] .. ":session")}
