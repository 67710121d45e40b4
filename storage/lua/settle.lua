#!lua flags=allow-oom
-- settle: what became of a context's first notice: it was told, has failed, or is given up.
--
-- Repeating it is safe: a notice that is gone, or is not the first any more, changes nothing.
--
-- KEYS 1 notices  2 webhooks  3 tries  4 dead  5 dead letters
-- ARGV 1 context id  2 version of the notice  3 "told" | "failed" | "given-up"
--      4 when its context is to be looked at again (ms)  5 tries so far (failed)
--      6 id of the dead letter (given-up)  7 the letter  8 since when (ms)
-- Returns how many notices the context still has | -1: it is not the first
local first = redis.call("ZRANGE", KEYS[1], 0, 0, "WITHSCORES")
if tonumber(first[2] or 0) ~= tonumber(ARGV[2]) then return -1 end
if ARGV[3] == "failed" then
  redis.call("HSET", KEYS[3], ARGV[1], ARGV[5])
else
  if ARGV[3] == "given-up" then
    redis.call("HSET", KEYS[4], ARGV[6], ARGV[7])
    redis.call("ZADD", KEYS[5], ARGV[8], ARGV[6])
  end
  redis.call("ZREM", KEYS[1], first[1])
  redis.call("HDEL", KEYS[3], ARGV[1])
end
local left = redis.call("ZCARD", KEYS[1])
if left == 0 then
  redis.call("ZREM", KEYS[2], ARGV[1])
else
  redis.call("ZADD", KEYS[2], ARGV[4], ARGV[1])
end
return left
